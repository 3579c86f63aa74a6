"""The platform that a drill hurts: with servers of its own, in a folder that goes with it."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.launcher.state import REPOSITORY
from tests.drills import builds
from tests.support.platform import Platform, ending, running_platform

SETTINGS = {
    "HEDGEROW_DRILL": "yes",
    "HEDGEROW_PAYMENT_TIMEOUT": "40",
    "HEDGEROW_CUSTOMER_TIMEOUT": "12",
    "HEDGEROW_GATEWAY_QUIET_AFTER": "12",
    "HEDGEROW_GATEWAY_SETTLED_AFTER": "30",
}
"""No real money is at stake. Orders must end, and what the gateway did must be known, while somebody watches."""
_READY = "Hedgerow is ready"


@contextmanager
def ground(build: str | None = None) -> Iterator[Platform]:
    """A platform that is ready, in the usual build or in another."""
    with tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with running_platform(folder, None, settings=SETTINGS) if build is None else _built(folder, build) as it:
            yield it


@contextmanager
def _built(folder: Path, build: str) -> Iterator[Platform]:
    with ending(Platform(folder, settings=SETTINGS)) as platform:
        command = builds.command(build, "infra.launcher", "up")
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
