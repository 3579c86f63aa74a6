"""Spans as OpenTelemetry has them, on their way to a collector (OTLP over HTTP).

Promise: ending a span never waits. At most OTEL_BSP_MAX_QUEUE_SIZE (2048) wait to be sent; while the collector is away
or slow the newest are lost and counted, and that is said once. Sampling is OTEL_TRACES_SAMPLER's. This module alone
imports OpenTelemetry.
"""

import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from broker.telemetry import SPANS_LOST, SPANS_SENT, log
from broker.tracing import Attributes, BadTracingError, Kind

LONGEST_STATE = 512
"""Characters of a `tracestate`: what W3C asks everybody to carry."""
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_QUEUE = "OTEL_BSP_MAX_QUEUE_SIZE"
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})")
_KINDS = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_NOTHING = Context()


class _Span:
    """One of OpenTelemetry's."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        sampled = context.trace_flags & TraceFlags.SAMPLED
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{sampled:02x}"

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def tell(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))


class Spans:
    """The tracer of one process; `exporter` takes the spans instead of the collector that the environment names."""

    def __init__(
        self, name: str, version: str, environment: Mapping[str, str], *, exporter: SpanExporter | None = None
    ) -> None:
        _must_speak_http(environment)
        # Its retries and losses are told by us, once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        said = {"service.name": environment.get("OTEL_SERVICE_NAME") or name, "service.version": version}
        self._sending = _Bounded(_Said(exporter or OTLPSpanExporter()), most=_most(environment))
        provider = TracerProvider(resource=Resource.create(said), shutdown_on_exit=False)
        provider.add_span_processor(self._sending)
        self._tracer = provider.get_tracer("hedgerow", version)

    @contextmanager
    def begin(
        self, name: str, kind: Kind, attributes: Attributes, *, parent: str | None, state: str | None = None
    ) -> Iterator[_Span]:
        with self._span(name, kind, attributes, _context(parent, state)) as span:
            yield span

    @contextmanager
    def inside(self, name: str, kind: Kind, attributes: Attributes) -> Iterator[_Span]:
        if not trace.get_current_span().get_span_context().is_valid:
            yield _Span(trace.INVALID_SPAN)
            return
        with self._span(name, kind, attributes, None) as span:
            yield span

    def was(self, name: str, attributes: Attributes, *, seconds: float, failed: str | None) -> None:
        # A driver may tell of its call after the work that needed it has ended.
        if trace.get_current_span().get_span_context().trace_flags.sampled:
            began = time.time_ns() - round(seconds * 1e9)
            span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes, start_time=began)
            if failed is not None:
                _Span(span).fail(failed)
            span.end()

    def fail(self, kind: str) -> None:
        _Span(trace.get_current_span()).fail(kind)

    def finish(self, *, within: float) -> None:
        self._sending.finish(within=within)

    @contextmanager
    def _span(self, name: str, kind: Kind, attributes: Attributes, context: Context | None) -> Iterator[_Span]:
        with self._tracer.start_as_current_span(
            name,
            context,
            kind=_KINDS[kind],
            attributes=attributes,
            record_exception=False,  # its message may quote what a customer sent
            set_status_on_exception=False,
        ) as span:
            it = _Span(span)
            try:
                yield it
            except BaseException as error:
                it.fail(type(error).__name__)
                raise


class _Said(SpanExporter):
    """Counts what the collector took and what not, and says when that changes."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_away = False
        self.taken = 0
        """How many spans no longer wait."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = self._exporter.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        (SPANS_LOST if is_away else SPANS_SENT).inc(len(spans))
        if is_away != self._is_away:
            self._is_away = is_away
            if is_away:
                log.warning("the collector of traces takes none, they are lost until it does")
            else:
                log.info("the collector of traces takes them again")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Bounded(BatchSpanProcessor):
    """Lets at most so many wait; what comes then is lost. (The SDK's own bound would log each.)"""

    def __init__(self, exporter: _Said, *, most: int) -> None:
        super().__init__(exporter, max_queue_size=most, max_export_batch_size=min(512, most))
        self._exporter = exporter
        self._most = most
        self._given = 0
        self._is_over = threading.Event()
        # Made now: a process that ends may start no thread.
        self._ending = threading.Thread(target=self._end, name="last spans", daemon=True)
        self._ending.start()

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._given - self._exporter.taken >= self._most:
            SPANS_LOST.inc()
            return
        self._given += 1
        super().on_end(span)

    def finish(self, *, within: float) -> None:
        """Send what waits, for at most so many seconds."""
        self._is_over.set()
        self._ending.join(within)
        if self._ending.is_alive():
            self._exporter.shutdown()  # it would try again

    def _end(self) -> None:
        self._is_over.wait()
        self.shutdown()  # type: ignore[no-untyped-call]


def _context(parent: str | None, state: str | None) -> Context:
    """The context that is named; none where it, or its state, makes no sense."""
    found = _TRACEPARENT.fullmatch(parent or "")
    if found is None or len(state or "") > LONGEST_STATE:
        return _NOTHING
    context = SpanContext(
        int(found[1], 16),
        int(found[2], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(found[3], 16) & TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([state]) if state else None,
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(context), _NOTHING)


def _must_speak_http(environment: Mapping[str, str]) -> None:
    for name in _PROTOCOLS:
        if (said := environment.get(name)) and said != "http/protobuf":
            raise BadTracingError(f"{name} is {said!r}; traces are sent as http/protobuf only (port 4318 by custom).")


def _most(environment: Mapping[str, str]) -> int:
    given = environment.get(_QUEUE) or "2048"
    if not (given.isascii() and given.isdigit() and int(given) > 0):
        raise BadTracingError(f"{_QUEUE} is {given!r}, which is no number of spans.")
    return int(given)
