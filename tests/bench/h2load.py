"""HTTP load by h2load: so many requests a second, whatever becomes of them."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.debian import Packaged
from tests.bench.ground import FOLDER

H2LOAD = Packaged("h2load", ("nghttp2-client", "libjemalloc2", "libev4"))
WARM_UP_SECONDS = 1.5


@dataclass(frozen=True)
class Answered:
    """One answer: when it was asked (Unix time), its status (-1 for none), and after how many ms it was there."""

    asked: float
    status: int
    took: float


@contextmanager
def flood(url: str, *, rate: float, connections: int, seconds: float) -> Iterator[Callable[[], list[Answered]]]:
    """So many requests a second that want no kept answer, over so many connections, for as long as the block lasts (and
    at most so long). A connection whose request is under way asks as soon as it can; none waits for another. Call what
    this yields for the answers to what was asked since the block began."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as workshop:
        program, environment = H2LOAD.found()
        log, lasts = Path(workshop) / "log", round(WARM_UP_SECONDS + seconds) + 1
        command = (program, "--h1", "-t1", f"-c{connections}", f"-D{lasts}", f"--rps={rate / connections:.3f}")
        asked_for = ("-H", "Cache-Control: no-cache", f"--log-file={log}", url)
        told, silent = os.environ | environment, subprocess.DEVNULL
        with subprocess.Popen([*command, *asked_for], env=told, stdout=silent, stderr=silent) as process:
            time.sleep(WARM_UP_SECONDS)
            began = time.time()

            def answers() -> list[Answered]:
                ended = time.time()
                process.wait(timeout=seconds + 60)
                rows = (line.split("\t") for line in log.read_text().splitlines())
                answers = (Answered(int(asked) / 1e6, int(status), int(us) / 1e3) for asked, status, us, *_ in rows)
                return [answer for answer in answers if began <= answer.asked < ended]

            try:
                yield answers
            finally:
                process.kill()
