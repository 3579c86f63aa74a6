"""A Redis of one test's own."""

import signal
import subprocess
from pathlib import Path

from infra.launcher.failure import Failure
from infra.launcher.program import Program
from infra.launcher.redis import redis
from infra.launcher.state import State
from tests.support.servers import skip_or_fail


class OwnRedis:
    """Started and killed by its test. Skips the test where this machine can have none."""

    def __init__(self, folder: Path) -> None:
        self._program: Program
        try:
            self.url, self._program = redis(State(folder))
        except Failure as reason:
            skip_or_fail(reason)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to listen, soon."""
        self._process = subprocess.Popen(**self._program.popen_arguments(), args=self._program.command)

    def signal(self, how: signal.Signals) -> None:
        """Stop it for a while, or let it go on."""
        assert self._process is not None
        self._process.send_signal(how)

    def kill(self) -> None:
        """End it without a warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
