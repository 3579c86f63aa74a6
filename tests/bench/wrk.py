"""HTTP load by wrk: closed loop."""

import json

from infra.launcher.failure import Failure
from tests.bench.debian import Packaged
from tests.bench.ground import FOLDER, one_shot
from tests.bench.rounds import Figures

WRK = Packaged("wrk", ("wrk", "libluajit-5.1-2"))
CONNECTIONS = 64
WARM_UP_SECONDS = 1
_REPORT = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %d, "us": %d, "p50": %d, "p99": %d, "errors": %d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""


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


def _run(url: str, seconds: int, headers: dict[str, str]) -> dict[str, int]:
    program, environment = WRK.found()
    script = FOLDER / "report.lua"
    script.write_text(_REPORT)
    told = (word for name, value in headers.items() for word in ("-H", f"{name}: {value}"))
    command = (program, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), *told, url)
    found: dict[str, int] = json.loads(one_shot(*command, within=seconds + 60, **environment).splitlines()[-1])
    return found
