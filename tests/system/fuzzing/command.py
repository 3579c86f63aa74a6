"""How schemathesis is run."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.launcher.state import REPOSITORY

EDGE, CERTIFICATE = "HEDGEROW_EDGE", "HEDGEROW_EDGE_CERTIFICATE"
"""Where to ask, and the file with what the edge shows there, where it speaks HTTPS."""
EMAIL, PASSWORD = "HEDGEROW_STAFF_EMAIL", "HEDGEROW_STAFF_PASSWORD"
"""Who the first staff user is."""


def asking(edge: str, *arguments: str, certificate: str | None = None) -> tuple[str, ...]:
    """The command that asks an edge, with all checks; one that shows this certificate is believed."""
    configuration = str(Path(__file__).parent / "schemathesis.toml")
    program = (sys.executable, "-m", "schemathesis.cli", "--config-file", configuration)
    trusting = ("--tls-verify", certificate) if certificate else ()
    return (*program, "run", f"{edge}/openapi.json", "--checks", "all", *trusting, *arguments)


def environment(edge: str, staff: Mapping[str, Any], *, certificate: str | None = None) -> dict[str, str]:
    """The environment of the command; `staff` has an email and a password."""
    told = {EDGE: edge, CERTIFICATE: certificate or "", EMAIL: str(staff["email"]), PASSWORD: str(staff["password"])}
    return {**os.environ, **told, "PYTHONPATH": str(REPOSITORY)}
