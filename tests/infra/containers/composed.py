"""compose.yaml as Docker Compose reads it, for as far as the tests look."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from infra.launcher.state import REPOSITORY

FILE = REPOSITORY / "compose.yaml"
VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}")


@cache
def composed() -> dict[str, Any]:
    """The file, with no variable set."""
    whole: dict[str, Any] = yaml.load(VARIABLE.sub(lambda found: found[2] or "", FILE.read_text()), yaml.CSafeLoader)
    return whole


def variables() -> set[str]:
    """The names of what an operator may set: in place of a value, or to be passed on."""
    passed_on = {
        name
        for service in composed()["services"].values()
        for name, value in service.get("environment", {}).items()
        if value is None
    }
    return passed_on | {found[1] for found in VARIABLE.finditer(FILE.read_text())}


def ours() -> dict[str, dict[str, Any]]:
    """The services that run the platform's image."""
    return {
        name: service for name, service in composed()["services"].items() if service["image"].startswith("hedgerow:")
    }


def program(service: Mapping[str, Any]) -> list[str]:
    """The whole command line of a container."""
    return [*service.get("entrypoint", ()), *service.get("command", ())]


def secret_files(service: Mapping[str, Any]) -> set[str]:
    """The secrets that its settings name, as they lie in the folder of all secrets."""
    mounts = [str(volume).split(":") for volume in service["volumes"] if str(volume).startswith("secrets-")]
    [owner] = {source.removeprefix("secrets-") for source, target, _ in mounts if target == "/secrets"}
    told = (value for value in service["environment"].values() if str(value).startswith("/secrets/"))
    return {f"{owner}/{value.removeprefix('/secrets/')}" for value in told}
