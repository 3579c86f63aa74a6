"""An HTTP request as a span (OpenTelemetry's conventions for HTTP servers).

Promise: what is asked of a service's route is told by the route's template; `url.path` is that template, too, because
paths may hold what is secret. The trace goes on from the client's `traceparent` where that makes sense, else it begins
here, and the request's log lines have its id.
"""

from typing import Protocol

from starlette.types import Scope

from broker import tracing
from broker.tracing import Tracer
from edge_api.gateway import Visit
from edge_api.incoming import ClientGoneError, Incoming
from edge_api.problems import RefusedError
from edge_api.responses import Response
from edge_api.telemetry import CLIENT_GONE, METHODS


class Answers(Protocol):
    """Who answers requests to services."""

    async def answer(self, scope: Scope, incoming: Incoming, visit: Visit) -> Response: ...


def traced(gateway: Answers) -> Answers:
    """The same gateway, traced where anything is."""
    return gateway if tracing.tracer is None else _Traced(gateway, tracing.tracer)


class _Traced:
    def __init__(self, gateway: Answers, tracer: Tracer) -> None:
        self._gateway = gateway
        self._tracer = tracer

    async def answer(self, scope: Scope, incoming: Incoming, visit: Visit) -> Response:
        parent, state = (incoming.headers.get(name, b"").decode("latin-1") for name in (b"traceparent", b"tracestate"))
        method, status = scope["method"] if scope["method"] in METHODS else "_OTHER", 500
        said = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with self._tracer.begin(method, "server", said, parent=parent, state=state) as span:
            visit.traceparent = span.traceparent
            try:
                response = await self._gateway.answer(scope, incoming, visit)
                status = response.status
                return response
            except RefusedError as error:
                status = error.refusal.status
                raise
            except ClientGoneError:
                status = CLIENT_GONE
                raise
            finally:
                span.rename(f"{method} {visit.route}")
                span.tell({"http.route": visit.route, "url.path": visit.route, "http.response.status_code": status})
