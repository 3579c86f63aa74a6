"""What the edge says about itself: a log line and two figures a request.

Promise: labels and log lines hold route templates, never paths, query strings or anything else that a client wrote.
"""

import time
from functools import lru_cache

from prometheus_client import Counter, Histogram

from broker.telemetry import log
from edge_api.gateway import Visit

REQUESTS = Counter("hedgerow_http_requests", "HTTP requests answered.", ["route", "method", "status"])
SECONDS = Histogram("hedgerow_http_request_seconds", "Time to answer an HTTP request.", ["route", "method"])
CLIENT_GONE = 499
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def note(visit: Visit, method: str, status: int, *, started: float) -> None:
    """Count and log a request that `started` on the clock of time.perf_counter."""
    seconds = time.perf_counter() - started
    known = method if method in _METHODS else "other"
    requests, durations = _figures(visit.route, known, f"{status // 100}xx")
    requests.inc()
    durations.observe(seconds)
    log.info(
        "request",
        method=known,
        route=visit.route,
        status=status,
        ms=round(seconds * 1000, 2),
        request_id=visit.request_id,
        answered_by=visit.service,
    )


@lru_cache(maxsize=4096)
def _figures(route: str, method: str, status: str) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(route, method, status), SECONDS.labels(route, method)
