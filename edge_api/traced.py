"""An HTTP request as a span (OpenTelemetry's conventions for HTTP servers).

Promise: what is asked of a service's route is told by the route's template; `url.path` is that template, too, because
paths may hold what is secret. The trace goes on from the client's `traceparent` where that makes sense, else it begins
here, and the request's log lines have its id.
"""

from typing import Protocol

from starlette.types import Scope

from broker import tracing
from broker.tracing import Span, Tracer
from edge_api.gateway import NO_ROUTE, Visit
from edge_api.incoming import ClientGoneError, Incoming
from edge_api.problems import RefusedError
from edge_api.responses import Response
from edge_api.streams import EventStream
from edge_api.telemetry import CLIENT_GONE, METHODS

Reply = Response | EventStream


class Answers(Protocol):
    """Who answers requests to services."""

    async def answer(self, scope: Scope, incoming: Incoming, visit: Visit) -> Reply: ...


def traced(gateway: Answers) -> Answers:
    """The same gateway, traced where anything is."""
    return gateway if tracing.tracer is None else _Traced(gateway, tracing.tracer)


class _Traced:
    def __init__(self, gateway: Answers, tracer: Tracer) -> None:
        self._gateway = gateway
        self._tracer = tracer

    async def answer(self, scope: Scope, incoming: Incoming, visit: Visit) -> Reply:
        parent, state = (incoming.headers.get(name, b"").decode("latin-1") for name in (b"traceparent", b"tracestate"))
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        said = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with self._tracer.begin(method, "server", said, parent=parent, state=state) as span:
            visit.traceparent = span.traceparent
            outcome = await self._outcome(scope, incoming, visit)
            _tell(span, method, visit, outcome)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _outcome(self, scope: Scope, incoming: Incoming, visit: Visit) -> Reply | Exception:
        try:
            return await self._gateway.answer(scope, incoming, visit)
        except Exception as error:
            return error


def _tell(span: Span, method: str, visit: Visit, outcome: Reply | Exception) -> None:
    """A refusal of what the client did is no failure of the server's."""
    status = _status(outcome)
    span.tell({"http.response.status_code": status})
    if visit.route != NO_ROUTE:
        span.rename(f"{method} {visit.route}")
        span.tell({"http.route": visit.route, "url.path": visit.route})
    if status >= 500:
        span.fail(str(status))


def _status(outcome: Reply | Exception) -> int:
    if not isinstance(outcome, Exception):
        return outcome.status
    if isinstance(outcome, RefusedError):
        return outcome.refusal.status
    return CLIENT_GONE if isinstance(outcome, ClientGoneError) else 500
