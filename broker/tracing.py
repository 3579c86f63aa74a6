"""Traces, where an operator wants them: who is told of a piece of work, and what it is called.

Promise: without an endpoint in the environment nothing of OpenTelemetry is imported, and nothing is wrapped
(traced.py). With one, a piece of work that is told of belongs to the trace that its message names; a context that makes
no sense begins a trace of its own. Attributes hold names and ids of the platform, never what a customer wrote.
"""

import atexit
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol
from urllib.parse import urlsplit

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
FLUSH_WITHIN = 2.0
"""How long a process that ends waits until its last spans are sent, in seconds."""
Kind = Literal["server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int]


class BadTracingError(Exception):
    """Traces can't be sent as the settings say; the message is for the operator."""


class Span(Protocol):
    """One piece of work."""

    @property
    def traceparent(self) -> str: ...

    def rename(self, name: str) -> None: ...

    def tell(self, attributes: Attributes) -> None: ...

    def fail(self, kind: str) -> None: ...


class Tracer(Protocol):
    """Who is told. An exception that passes fails the span, without its message."""

    def begin(
        self, name: str, kind: Kind, attributes: Attributes, *, parent: str | None, state: str | None = None
    ) -> AbstractContextManager[Span]:
        """A span of the trace that `parent` (W3C) names, or of a new one."""
        ...

    def inside(self, name: str, kind: Kind, attributes: Attributes) -> AbstractContextManager[Span]:
        """A span of what is being worked on; of nothing, where that is not traced."""
        ...

    def was(self, name: str, attributes: Attributes, *, seconds: float, failed: str | None) -> None:
        """Tell of a client's call that has just ended, as `inside` does."""
        ...

    def fail(self, kind: str) -> None:
        """What is being worked on has failed."""
        ...

    def finish(self, *, within: float) -> None:
        """Send what waits, for at most so many seconds, and no more."""
        ...


tracer: Tracer | None = None


def start(name: str, version: str, environment: Mapping[str, str]) -> None:
    """Trace from now on until the process ends, if the environment names an endpoint. Raises BadTracingError."""
    global tracer
    is_off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if is_off or environment.get("OTEL_TRACES_EXPORTER", "otlp").strip() == "none":
        return
    if any(environment.get(endpoint) for endpoint in ENDPOINTS):
        from broker.spans import Spans  # only here: the packages behind it take memory that most processes save

        tracer = Spans(name, version, environment)
        atexit.register(tracer.finish, within=FLUSH_WITHIN)


def fail(error: BaseException) -> None:
    """What is being worked on has failed, although no exception leaves it."""
    if tracer is not None:
        tracer.fail(type(error).__name__)


class Call:
    """A call over HTTP: the headers that carry its trace, and what becomes of it."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span
        self.headers = {} if span is None else {"traceparent": span.traceparent}

    def answered(self, status: int) -> None:
        """Note how it was answered."""
        if self._span is not None:
            self._span.tell({"http.response.status_code": status})
            if status >= 400:
                self._span.fail(str(status))


@contextmanager
def calling(method: str, url: str) -> Iterator[Call]:
    """Call somebody outside over HTTP; the query string is told to nobody."""
    if tracer is None:
        yield Call()
        return
    to = urlsplit(url)
    port = to.port or (443 if to.scheme == "https" else 80)
    where: Attributes = {"server.address": to.hostname or "", "server.port": port}
    full = f"{to.scheme}://{to.hostname}:{port}{to.path}"
    with tracer.inside(method, "client", {"http.request.method": method, "url.full": full, **where}) as span:
        yield Call(span)
