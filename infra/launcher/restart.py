"""`restart`: every service and the edge anew, one by one, while everything goes on.

Promise: the code of now takes the place of the code that runs. First logins, exchanges and tables are made as it needs
them, beside the old code, which must bear that (CONTRIBUTING.md); then each program is replaced by its successor, which
serves before the old one is told to stop.
"""

import asyncio
from collections.abc import Sequence

from broker.migrate import MigrationError, migrate_all
from infra.launcher.control import ask
from infra.launcher.failure import Failure
from infra.launcher.progress import Progress
from infra.launcher.provision import Servers, provision_login, provision_platform, provision_service, servers_of
from infra.launcher.services import BUSINESS
from infra.launcher.state import State
from infra.launcher.status import runtime

_ORDER = (*BUSINESS, "edge")


def restart(state: State, progress: Progress, names: Sequence[str]) -> int:
    """Restart these, or all. Raises `Failure`; what was not reached yet then runs on as it did."""
    found = runtime(state)
    running = [name for name in _ORDER if name in dict(found.get("processes") or {})]  # type: ignore[call-overload]
    if not running or "control" not in found:
        raise Failure("No service runs here, or they are still starting; ./justw up starts them.")
    if unknown := [name for name in names if name not in running]:
        raise Failure(f"There is no {unknown[0]} to restart; there is {', '.join(running)}.")
    wanted = [name for name in running if not names or name in names]
    servers = servers_of(found)
    with progress.step("Preparing the servers", "Logins, exchanges and tables are as this version needs them"):
        _prepare(state, servers, wanted)
    for name in wanted:
        with progress.step(f"Restarting {name}", f"{name} is a new process"):
            asyncio.run(ask(str(found["control"]), name))
    return 0


def _prepare(state: State, servers: Servers, wanted: Sequence[str]) -> None:
    provision_platform(servers)
    if "edge" in wanted:
        provision_login(state, servers, "edge")
    urls = {name: provision_service(state, servers, name).database_url for name in wanted if name in BUSINESS}
    try:
        asyncio.run(migrate_all([(url, f"workers.{name}.migrations") for name, url in urls.items()]))
    except MigrationError as error:
        raise Failure(f"The tables can't be brought up to date: {error}.") from error
