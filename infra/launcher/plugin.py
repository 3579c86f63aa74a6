"""`run`: a service from one file anywhere, plugged into the platform that runs here."""

import os
import sys
from pathlib import Path

from infra.launcher.failure import Failure
from infra.launcher.grants import is_granted
from infra.launcher.names import check_name
from infra.launcher.plugged_in import note_plugin
from infra.launcher.provision import provision_service, servers_of
from infra.launcher.state import REPOSITORY, State, any_free_port
from infra.launcher.status import runtime


def run_plugin(state: State, file: Path | None, *, name: str | None) -> int:
    """Become the file's process, with accounts of its own in the environment; comes back only with a `Failure`."""
    if file is None:
        raise Failure("Which file? ./justw run FILE plugs in the service that it holds.")
    if not file.is_file():
        raise Failure(f"There is no file {file}.")
    service = name or file.stem.replace("_", "-")
    servers = servers_of(runtime(state))
    check_name(service, servers)
    if is_granted(servers, service):
        raise Failure(
            f"{service} has a grant: start it with the addresses that ./justw grant printed, or take them back with "
            f"./justw revoke {service}."
        )
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
