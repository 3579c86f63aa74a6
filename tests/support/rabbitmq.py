"""A RabbitMQ node that tests may hurt; whoever does has it for itself meanwhile."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from infra.launcher.failure import Failure
from infra.launcher.leftovers import end_leftovers
from infra.launcher.management import Management
from infra.launcher.node import PrivateNode
from infra.launcher.rabbitmq import private_broker
from infra.launcher.state import State
from tests.support.servers import skip_or_fail


class OwnRabbitMq:
    """One private node that runs."""

    def __init__(self, node: PrivateNode) -> None:
        self._node = node
        self.amqp = node.amqp
        self.management = node.management
        self._name_service = node.name_service.start()
        self._server = node.server.start()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """While the block lasts the node runs, but there is no broker on it: what is durable is kept, nothing else."""
        await self.rabbitmqctl("stop_app")
        try:
            yield
        finally:
            await self.rabbitmqctl("start_app")

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """While the block lasts the node does nothing, and its connections stand."""
        self._server.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._server.pid, os.WSTOPPED)  # all of its threads
        try:
            yield
        finally:
            self._server.send_signal(signal.SIGCONT)

    async def rabbitmqctl(self, *arguments: str) -> None:
        """Run the node's own rabbitmqctl."""
        await asyncio.to_thread(self._node.rabbitmqctl, *arguments)

    def end(self) -> None:
        """For good."""
        for process in (self._server, self._name_service):
            process.kill()
            process.wait()


@contextmanager
def own_rabbitmq(folder: Path, *, settings: str = "", plugins: str = "") -> Iterator[OwnRabbitMq]:
    """A node that runs for as long as the block lasts, its state in `folder`, with more lines for its rabbitmq.conf and
    more plug-ins; takes about ten seconds to start."""
    state = State(folder)
    try:
        node = private_broker(state)
    except Failure as failure:
        skip_or_fail(failure)
    with (folder / "rabbitmq" / "rabbitmq.conf").open("a") as configuration:
        configuration.write(settings)
    if plugins:
        state.write_text("rabbitmq/enabled_plugins", f"[rabbitmq_management,{plugins}].\n")
    mine = OwnRabbitMq(node)
    try:
        with Management(node.management) as management:
            management.wait(within=60)
        yield mine
    finally:
        mine.end()
        end_leftovers(state.folder)
