"""`run`: a service from one file anywhere, plugged into the platform that runs here."""

import os
import re
import sys
from pathlib import Path

from infra.launcher.failure import Failure
from infra.launcher.plugged_in import note_plugin
from infra.launcher.provision import Servers, provision_service
from infra.launcher.services import BUSINESS
from infra.launcher.state import REPOSITORY, State, any_free_port
from infra.launcher.status import runtime

_RESERVED = {*BUSINESS, "edge", "gateway", "hedgerow"}


def run_plugin(state: State, file: Path | None, *, name: str | None) -> int:
    """Become the file's process, with accounts of its own in the environment; comes back only with a `Failure`."""
    if file is None:
        raise Failure("Which file? ./justw run FILE plugs in the service that it holds.")
    if not file.is_file():
        raise Failure(f"There is no file {file}.")
    service = name or file.stem.replace("_", "-")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", service):
        raise Failure(f"{service!r} can't be a service's name: use small letters, digits and hyphens (--name).")
    if service in _RESERVED:
        raise Failure(f"{service} is a name of the platform's own; choose another with --name.")
    found = runtime(state)
    management = found["rabbitmq_management"]
    servers = Servers(str(found["amqp"]), str(management) if management else None, str(found["database"]))
    accounts = provision_service(state, servers, service)
    metrics = any_free_port()
    os.environ |= {
        "HEDGEROW_AMQP_URL": accounts.amqp_url,
        "HEDGEROW_DATABASE_URL": accounts.database_url,
        "HEDGEROW_METRICS_PORT": str(metrics),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }
    note_plugin(state, service, metrics=metrics)
    os.execv(sys.executable, [sys.executable, str(file.absolute())])  # noqa: S606
