"""HTTP load: wrk, from the PATH, else unpacked from Debian's package without installing it."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.launcher.failure import Failure
from tests.bench.ground import FOLDER, one_shot
from tests.bench.rounds import Figures

CONNECTIONS = 64
_PACKAGES = ("wrk", "libluajit-5.1-2")
WARM_UP_SECONDS = 1
_REPORT = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %d, "us": %d, "p50": %d, "p99": %d, "errors": %d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""


@contextmanager
def flood(url: str, *, seconds: float, connections: int) -> Iterator[Callable[[], Figures]]:
    """So many connections ask this URL for so long, and want no kept answer, while the block lasts; call what it yields
    to wait for the end and learn how often they asked, and how often it was in vain, a second."""
    command, environment = _command(url, max(1, round(seconds)), {"Cache-Control": "no-cache"}, connections)
    with subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True) as process:

        def ended() -> Figures:
            found = json.loads(process.communicate(timeout=seconds + 60)[0].splitlines()[-1])
            return {"asked/s": found["requests"] / found["us"] * 1e6, "in vain/s": found["errors"] / found["us"] * 1e6}

        try:
            yield ended
        finally:
            process.kill()


def load(url: str, *, seconds: float, token: str | None = None, anew: bool = False) -> Figures:
    """What this URL does under 64 connections, whose requests carry a token or want no kept answer. Raises `Failure`
    if a single answer is not a success."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {"Cache-Control": "no-cache"} if anew else {}
    _run(url, WARM_UP_SECONDS, headers)
    found = _run(url, max(1, round(seconds)), headers)
    if found["errors"]:
        raise Failure(f"{url} failed {found['errors']} times of {found['requests']}")
    rate = found["requests"] / found["us"] * 1e6
    return {"requests/s": rate, "p50 ms": found["p50"] / 1000, "p99 ms": found["p99"] / 1000}


def version() -> str:
    """Which wrk."""
    program, environment = _wrk()
    told = subprocess.run([program, "-v"], env=os.environ | environment, capture_output=True, text=True)
    return told.stdout.split(" [")[0].removeprefix("wrk ").strip()


def _run(url: str, seconds: int, headers: dict[str, str]) -> dict[str, int]:
    command, environment = _command(url, seconds, headers, CONNECTIONS)
    printed = one_shot(*command, within=seconds + 60, **environment)
    found: dict[str, int] = json.loads(printed.splitlines()[-1])
    return found


def _command(url: str, seconds: int, headers: dict[str, str], connections: int) -> tuple[list[str], dict[str, str]]:
    program, environment = _wrk()
    script = FOLDER / "report.lua"
    script.write_text(_REPORT)
    told = (word for name, value in headers.items() for word in ("-H", f"{name}: {value}"))
    return [program, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), *told, url], environment


def _wrk() -> tuple[str, dict[str, str]]:
    if installed := shutil.which("wrk"):
        return installed, {}
    root = FOLDER / "wrk"
    if not root.is_dir():
        _unpack(root)
    return str(root / "usr/bin/wrk"), {"LD_LIBRARY_PATH": str(next(root.glob("usr/lib/*-linux-gnu*")))}


def _unpack(root: Path) -> None:
    sandbox = ("-o", "APT::Sandbox::User=root") if os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(dir=FOLDER) as workshop:
        try:
            subprocess.run(["apt-get", "-qq", *sandbox, "download", *_PACKAGES], cwd=workshop, check=True)
            for package in Path(workshop).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", str(package), f"{workshop}/root"], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Failure("The bench needs wrk: apt-get install wrk, or brew install wrk.") from error
        (Path(workshop) / "root").rename(root)
