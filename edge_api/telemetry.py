"""What the edge says about itself: a log line and two figures a request.

Promise: labels and log lines hold route templates, never paths, query strings or anything else that a client wrote.
A line is one JSON object, like those of broker.logs, but cheaper: what the requests of one kind have in common is
rendered once, and lines are written together, soon.
"""

import asyncio
import json
import time
from datetime import UTC, datetime
from functools import lru_cache

from prometheus_client import Counter, Histogram

from broker.logs import in_ecs, output
from edge_api.gateway import Visit

REQUESTS = Counter("hedgerow_http_requests", "HTTP requests answered.", ["route", "method", "status"])
SECONDS = Histogram("hedgerow_http_request_seconds", "Time to answer an HTTP request.", ["route", "method"])
CLIENT_GONE = 499
FLUSH_AFTER_SECONDS = 0.1
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Telemetry:
    """Counts each request at once, and writes its line within FLUSH_AFTER_SECONDS or when told to."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def note(self, visit: Visit, method: str, status: int, *, started: float) -> None:
        """Count and log a request that `started` on the clock of time.perf_counter."""
        seconds = time.perf_counter() - started
        requests, durations, facts = _kind(method if method in METHODS else "other", visit.route, status, visit.service)
        requests.inc()
        if not visit.is_stream:
            durations.observe(seconds)
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_AFTER_SECONDS, self.flush)
        self._lines.append(
            f'{facts}, "event.duration": {seconds * 1e9:.0f}, "http.request.id": "{visit.request_id}",'
            f'{_trace(visit.traceparent)} "@timestamp": "{_now()}"}}\n'
        )

    def flush(self) -> None:
        """Write out the lines."""
        lines, self._lines = self._lines, []
        output.write("".join(lines))
        output.flush()


@lru_cache(maxsize=4096)
def _kind(method: str, route: str, status: int, service: str | None) -> tuple[Counter, Histogram, str]:
    """The counters of a kind of request, and what all its log lines say."""
    facts = in_ecs({"service": "edge", "level": "info", "event": "request", "route": route, "answered_by": service}) | {
        "http.request.method": method,
        "http.response.status_code": status,
    }
    line = json.dumps(facts)
    return REQUESTS.labels(route, method, f"{status // 100}xx"), SECONDS.labels(route, method), line.removesuffix("}")


def _trace(traceparent: str) -> str:
    """Nothing for what never came to a route of a service."""
    return f' "trace.id": "{traceparent[3:35]}",' if traceparent else ""


def _now() -> str:
    now = time.time()
    return f"{_second(int(now))}.{int(now % 1 * 1e6):06d}Z"


@lru_cache(maxsize=1)
def _second(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S")
