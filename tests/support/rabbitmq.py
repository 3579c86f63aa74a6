"""A RabbitMQ node of a test's own, to be stopped, killed and started at will; nobody else uses it."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.launcher.failure import Failure
from infra.launcher.leftovers import end_leftovers
from infra.launcher.management import Management
from infra.launcher.node import PrivateNode
from infra.launcher.rabbitmq import private_broker
from infra.launcher.state import State
from tests.support.servers import skip_or_fail


class OwnRabbitMq:
    """One private node; its ports, logins and durable contents stay the same however often it is started."""

    def __init__(self, node: PrivateNode) -> None:
        self._node = node
        self.amqp = node.amqp
        self.rabbitmq_management = node.management
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node and return when it and its management API answer."""
        self._server = self._node.server.start()
        with Management(self.rabbitmq_management) as management:
            management.wait(within=60)

    def stop(self) -> None:
        """End the node in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the node as a lost machine would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start the node: every connection is lost, what is durable is kept."""
        self.stop()
        self.start()

    def rabbitmqctl(self, *arguments: str) -> str:
        """Run the node's own rabbitmqctl (`stop_app`, `start_app`, `close_all_connections why`, ...)."""
        return self._node.rabbitmqctl(*arguments)

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(30)
            self._server = None


@contextmanager
def own_rabbitmq(folder: Path) -> Iterator[OwnRabbitMq]:
    """A node that runs for as long as the block lasts, its state in `folder`; takes about ten seconds to start."""
    state = State(folder)
    try:
        node = private_broker(state)
    except Failure as failure:
        skip_or_fail(failure)
    name_service = node.name_service.start()
    mine = OwnRabbitMq(node)
    try:
        mine.start()
        yield mine
    finally:
        mine.kill()
        name_service.kill()
        name_service.wait()
        end_leftovers(state.folder)
