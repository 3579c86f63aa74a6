"""Load at a fixed rate, whatever the server does.

Promise: requests leave at their appointed times also while earlier ones wait, and a latency counts from the appointed
time, not from when the request was sent: a server that stalls is charged for everybody who would have come meanwhile.
"""

import asyncio
import gc
import selectors
import time
from urllib.parse import urlsplit

from infra.launcher.failure import Failure
from tests.bench.http import Client
from tests.bench.rounds import Figures

WARM_UP_SECONDS = 1.0
_SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def open_loop(url: str, *, rate: int, seconds: float, token: str | None = None, anew: bool = False) -> Figures:
    """Latencies in ms, and how late the generator itself was. Raises `Failure` if an answer is not a success."""
    # Of the loops and selectors at hand only this pair wakes up between two milliseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        gc.collect()
        gc.disable()
        try:
            latencies, delays = runner.run(_run(Client(url, token=token, anew=anew), url, rate, seconds))
        finally:
            gc.enable()
    quantiles = {f"{name} ms": _quantile(latencies, share) for name, share in _SHARES.items()}
    return quantiles | {"sent late, p99 ms": _quantile(delays, 0.99)}


async def _run(asking: Client, url: str, rate: int, seconds: float) -> tuple[list[float], list[float]]:
    latencies, delays = list[float](), list[float]()
    async with asking as client, asyncio.TaskGroup() as visits:
        request = client.request("GET", urlsplit(url).path)

        async def visit(appointed: float) -> None:
            sent = time.perf_counter()
            status, body = await client.ask(request)
            if status != 200:
                raise Failure(f"{url} said {status}: {body[:200]!r}")
            if appointed >= counted_from:
                latencies.append((time.perf_counter() - appointed) * 1000)
                delays.append((sent - appointed) * 1000)

        begin = time.perf_counter() + 0.1
        counted_from = begin + WARM_UP_SECONDS
        for number in range(round(rate * (WARM_UP_SECONDS + seconds))):
            appointed = begin + number / rate
            if (pause := appointed - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            visits.create_task(visit(appointed))
    return sorted(latencies), sorted(delays)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
