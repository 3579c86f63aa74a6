"""A RabbitMQ node that tests may hurt; whoever does has it for itself meanwhile."""

import asyncio
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

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """While the block lasts the node runs, but there is no broker on it: what is durable is kept, nothing else."""
        await asyncio.to_thread(self._node.rabbitmqctl, "stop_app")
        try:
            yield
        finally:
            await asyncio.to_thread(self._node.rabbitmqctl, "start_app")


@contextmanager
def own_rabbitmq(folder: Path) -> Iterator[OwnRabbitMq]:
    """A node that runs for as long as the block lasts, its state in `folder`; takes about ten seconds to start."""
    state = State(folder)
    try:
        node = private_broker(state)
    except Failure as failure:
        skip_or_fail(failure)
    processes = [program.start() for program in node.programs]
    try:
        with Management(node.management) as management:
            management.wait(within=60)
        yield OwnRabbitMq(node)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        end_leftovers(state.folder)
