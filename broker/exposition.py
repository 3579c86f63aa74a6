"""The page that Prometheus reads (`/metrics`), and how far behind the event loop is.

Promise: it is served on a port of its own, and only where HEDGEROW_METRICS_PORT names one; nobody outside this machine
sees it unless HEDGEROW_METRICS_HOST says so. A thread answers, so that a process whose loop hangs still tells what it
knows.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import REGISTRY, Gauge, start_http_server

from broker.gauges import Gauge as LookedUp
from broker.gauges import Gauges
from broker.telemetry import LOOP_LAG_SECONDS

PORT, HOST = "HEDGEROW_METRICS_PORT", "HEDGEROW_METRICS_HOST"
EVERY = 0.5
_INFO = Gauge("hedgerow_process", "Which service this process runs, in which version.", ["name", "version"])


class BadMetricsAddressError(Exception):
    """The page can't be served where the settings say; the message is for the operator."""


def expose(name: str, version: str, environment: Mapping[str, str]) -> None:
    """Serve the page from now on until the process ends. Raises BadMetricsAddressError."""
    given, host = environment.get(PORT), environment.get(HOST) or "127.0.0.1"
    if not given:
        return
    if not given.isascii() or not given.isdigit() or not 0 < int(given) < 65536:
        raise BadMetricsAddressError(f"{PORT} is {given!r}, which is not a port (1 to 65535).")
    try:
        start_http_server(int(given), host)
    except OSError as error:
        reason = error.strerror or error
        raise BadMetricsAddressError(
            f"The metrics can't be served on port {given} of {host} ({reason}); set {PORT}."
        ) from None
    _INFO.labels(name, version).set(1)


@contextmanager
def telling(gauges: Iterable[LookedUp]) -> Iterator[None]:
    """Have these gauges on the page for as long as the block lasts."""
    collector = Gauges(gauges)
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


async def measure_lag_forever() -> None:
    """Sleep, and see how much longer it took, until cancelled."""
    while True:
        due = time.perf_counter() + EVERY
        await asyncio.sleep(EVERY)
        LOOP_LAG_SECONDS.observe(max(0.0, time.perf_counter() - due))
