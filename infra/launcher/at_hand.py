"""The two servers, for one piece of work: those of the running platform, else started for as long as it takes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infra.launcher.leftovers import end_leftovers
from infra.launcher.lock import launcher_lock, running_launcher
from infra.launcher.progress import Progress
from infra.launcher.provision import Servers, servers_of
from infra.launcher.servers import start_servers
from infra.launcher.state import State
from infra.launcher.status import runtime
from infra.launcher.supervisor import Supervisor


@asynccontextmanager
async def servers_at_hand(state: State, progress: Progress) -> AsyncIterator[Servers]:
    """The administrator's addresses. Raises `Failure` when there are none."""
    if running_launcher(state):
        yield servers_of(runtime(state))
        return
    with launcher_lock(state):
        end_leftovers(state.folder)
        supervisor = Supervisor(progress.say)
        try:
            yield await start_servers(state, supervisor, progress)
        finally:
            await supervisor.stop()
