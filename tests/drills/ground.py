"""The platform that a drill hurts: with servers of its own, in a folder that goes with it."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.launcher.state import REPOSITORY
from tests.drills import weakened
from tests.support.platform import Platform, ending, running_platform

SETTINGS = {"HEDGEROW_DRILL": "yes", "HEDGEROW_PAYMENT_TIMEOUT": "30", "HEDGEROW_CUSTOMER_TIMEOUT": "40"}
"""No real money is at stake, and orders must end while somebody watches."""
_READY = "Hedgerow is ready"


@contextmanager
def ground(without: str | None = None) -> Iterator[Platform]:
    """A platform that is ready, or one whose services run without one of their mechanisms."""
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        folder = Path(name)
        with running_platform(folder, None, settings=SETTINGS) if without is None else _weak(folder, without) as it:
            yield it


@contextmanager
def _weak(folder: Path, mechanism: str) -> Iterator[Platform]:
    with ending(Platform(folder, settings=SETTINGS)) as platform:
        command = weakened.command(mechanism, "infra.launcher", "up")
        log = platform.state.logs / "up.log"
        with log.open("wb") as said:
            launcher = subprocess.Popen(command, cwd=REPOSITORY, env=platform.environment, stdout=said, stderr=said)
        try:
            until = time.monotonic() + 100
            while _READY not in log.read_text():
                assert launcher.poll() is None, f"the platform did not start: {log.read_text()}"
                assert time.monotonic() < until, f"the platform is not ready: {log.read_text()}"
                time.sleep(0.1)
            yield platform
        finally:
            launcher.kill()
            launcher.wait()
