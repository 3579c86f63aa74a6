"""A collector of traces: OTLP over HTTP, decoded with OpenTelemetry's own definitions."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Told = dict[str, str | int]


@dataclass(frozen=True)
class Taken:
    """A span as it came; ids in hexadecimal."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    attributes: Told
    failed: bool


class Receiver:
    """Takes what it is sent."""

    def __init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.bodies.append(body)
                receiver.spans += _spans(body) if self.path == "/v1/traces" else ()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.bodies: list[bytes] = []
        self.spans: list[Taken] = []
        """What came so far."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, trace: str) -> list[Taken]:
        """What came of one trace."""
        return [span for span in list(self.spans) if span.trace == trace]

    def close(self) -> None:
        """For good."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """One that listens while the block lasts."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


def _spans(body: bytes) -> Iterator[Taken]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = str(_told(resource.resource.attributes)["service.name"])
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Taken(
                    service=service,
                    name=span.name,
                    kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    attributes=_told(span.attributes),
                    failed=span.status.code == 2,
                )


def _told(attributes: Iterable[KeyValue]) -> Told:
    told: Told = {}
    for each in attributes:
        told[each.key] = each.value.int_value if each.value.HasField("int_value") else each.value.string_value
    return told
