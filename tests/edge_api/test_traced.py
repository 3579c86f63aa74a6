"""Requests as spans: what they are called, and what counts as a failure."""

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.types import Message, Scope

from broker import tracing
from broker.shared_timer import SharedTimer
from broker.spans import Spans
from contracts.base import nobody_there
from edge_api.gateway import Visit
from edge_api.incoming import ClientGoneError, Incoming
from edge_api.problems import RefusedError, no_such_route
from edge_api.responses import Response
from edge_api.traced import traced

TRACE = "0af7651916cd43dd8448eb211c80319c"
Outcome = Response | Exception


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Where the spans of this process end up."""
    kept = InMemorySpanExporter()
    tracer = Spans("edge", "1", {}, exporter=kept)
    monkeypatch.setattr(tracing, "tracer", tracer)
    yield kept
    tracer.finish(within=5)


async def asked(
    kept: InMemorySpanExporter, outcome: Outcome, *, route: str | None, method: str = "GET"
) -> ReadableSpan:
    """The span of a request that ends so."""

    class Gateway:
        async def answer(self, scope: Scope, incoming: Incoming, visit: Visit) -> Response:
            assert visit.traceparent[3:35] == TRACE
            visit.route = route or visit.route
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

    async def receive() -> Message:
        raise AssertionError("nobody reads the body")

    headers = [(b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())]
    scope = {"type": "http", "method": method, "scheme": "https", "headers": headers, "path": "/anna@example.org"}
    answering = traced(Gateway()).answer(scope, Incoming(scope, receive, SharedTimer()), Visit("1"))
    (given,) = await asyncio.gather(answering, return_exceptions=True)
    assert given is outcome
    assert tracing.tracer is not None
    tracing.tracer.finish(within=5)
    (span,) = kept.get_finished_spans()
    assert "anna" not in span.to_json()
    return span


@pytest.mark.parametrize(
    ("outcome", "status", "error"),
    [
        (Response(201), 201, None),
        (RefusedError(no_such_route()), 404, None),
        (RefusedError(nobody_there()), 503, "503"),
        (ClientGoneError(), 499, None),
        (ValueError("anna"), 500, "500"),
    ],
)
async def test_only_what_the_server_failed_at_is_a_failure(
    kept: InMemorySpanExporter, outcome: Outcome, status: int, error: str | None
) -> None:
    span = await asked(kept, outcome, route="/users/{id}")
    told = span.attributes or {}
    assert (span.name, told["http.route"]) == ("GET /users/{id}", "/users/{id}")
    assert (told["http.response.status_code"], told.get("error.type")) == (status, error)


async def test_what_has_no_route_is_called_by_its_method_alone(kept: InMemorySpanExporter) -> None:
    span = await asked(kept, RefusedError(no_such_route()), route=None)
    assert (span.name, "http.route" in (span.attributes or {})) == ("GET", False)


async def test_a_method_that_nobody_knows_is_not_repeated(kept: InMemorySpanExporter) -> None:
    span = await asked(kept, RefusedError(no_such_route()), route=None, method="ANNA")
    assert span.name == "_OTHER"
