"""How schemathesis is run."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.launcher.state import REPOSITORY

EDGE, EMAIL, PASSWORD = "HEDGEROW_EDGE", "HEDGEROW_STAFF_EMAIL", "HEDGEROW_STAFF_PASSWORD"
"""Where to ask, and who the first staff user is."""


def asking(edge: str, *arguments: str) -> tuple[str, ...]:
    """The command that asks an edge, with all checks."""
    configuration = str(Path(__file__).parent / "schemathesis.toml")
    program = (sys.executable, "-m", "schemathesis.cli", "--config-file", configuration)
    return (*program, "run", f"{edge}/openapi.json", "--checks", "all", *arguments)


def environment(edge: str, staff: Mapping[str, Any]) -> dict[str, str]:
    """The environment of the command; `staff` has an email and a password."""
    told = {EDGE: edge, EMAIL: str(staff["email"]), PASSWORD: str(staff["password"])}
    return {**os.environ, **told, "PYTHONPATH": str(REPOSITORY)}
