"""Spans: which trace they belong to, what they say of failures, and collectors that are away or slow."""

import asyncio
import contextvars
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from broker import spans, traced, tracing
from broker.lane import Answer, Request
from broker.queries import described
from broker.service import Listener
from broker.spans import Spans
from broker.tracing import BadTracingError, calling
from tests.support.counting import Counting
from tests.support.otlp import receiving

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"
Start = Callable[..., Spans]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a tracer; without an exporter, as the environment says."""
    started: list[Spans] = []

    def starting(exporter: SpanExporter | None = None, **environment: str) -> Spans:
        started.append(Spans("shop", "1", environment, exporter=exporter))
        return started[-1]

    yield starting
    for it in started:
        it.finish(within=5)


@pytest.fixture
def kept() -> InMemorySpanExporter:
    """Where spans end up."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer(start: Start, kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Spans:
    """The tracer of this process."""
    it = start(kept)
    monkeypatch.setattr(tracing, "tracer", it)
    return it


def test_a_span_goes_on_with_the_trace_that_is_named(tracer: Spans) -> None:
    with tracer.begin("work", "consumer", {}, parent=GOOD) as span:
        version, trace, mine, flags = span.traceparent.split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert mine != PARENT


@pytest.mark.parametrize(
    ("parent", "state"),
    [
        (None, None),
        ("", None),
        ("nonsense", None),
        (f"00-{TRACE}-{PARENT}", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (GOOD.upper(), None),
        (GOOD + "\n", None),
        (GOOD, "a=" + "b" * 511),
    ],
)
def test_a_context_that_makes_no_sense_begins_a_trace(tracer: Spans, parent: str | None, state: str | None) -> None:
    with tracer.begin("work", "server", {}, parent=parent, state=state) as span:
        assert span.traceparent.split("-")[1] not in (TRACE, "0" * 32)


@pytest.mark.parametrize("state", ["vendor=1", "=,=", "no state", ""])
def test_a_state_is_carried_or_dropped_and_never_costs_the_trace(tracer: Spans, state: str) -> None:
    with tracer.begin("work", "server", {}, parent=GOOD, state=state) as span:
        assert TRACE in span.traceparent


def test_what_its_caller_does_not_sample_is_not_sent(tracer: Spans, kept: InMemorySpanExporter) -> None:
    with tracer.begin("unseen", "consumer", {}, parent=GOOD[:-2] + "00") as span:
        assert span.traceparent.endswith("-00")
    with tracer.begin("seen", "consumer", {}, parent=GOOD):
        pass
    tracer.finish(within=5)
    assert [span.name for span in kept.get_finished_spans()] == ["seen"]


def test_the_standard_variables_choose_the_sampler(
    start: Start, kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    tracer = start(kept)
    with tracer.begin("new", "server", {}, parent=None) as span:
        assert span.traceparent.endswith("-00")
    with tracer.begin("sampled before", "server", {}, parent=GOOD) as span:
        assert span.traceparent.endswith("-01")


def test_a_failure_is_told_by_its_kind_and_never_by_its_words(tracer: Spans, kept: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), tracer.begin("work", "consumer", {}, parent=GOOD):
        raise ValueError("secret")
    with tracer.begin("settled", "consumer", {}, parent=GOOD):
        tracing.fail(KeyError("secret"))
    tracer.finish(within=5)
    found = kept.get_finished_spans()
    assert [(span.attributes or {})["error.type"] for span in found] == ["ValueError", "KeyError"]
    assert not [span for span in found if "secret" in span.to_json() or span.status.is_ok]


async def test_what_is_asked_and_answered_is_one_trace(tracer: Spans, kept: InMemorySpanExporter) -> None:
    seen: list[str | None] = []

    async def answer(request: Request) -> Answer:
        seen.append(request.traceparent)
        return Answer(b"1")

    class Direct:
        in_flight = 0

        async def request(self, request: Request) -> Answer:
            return await traced.answering(answer, "shop")(request)

    mine = Request("shop.ask.v1", b"{}", time.time() + 5, traceparent=GOOD)
    assert (await traced.asking(Direct()).request(mine)).body == b"1"
    assert mine.traceparent == GOOD
    tracer.finish(within=5)
    processed, sent = kept.get_finished_spans()
    assert [span.name for span in (sent, processed)] == ["send shop.ask.v1", "process shop.ask.v1"]
    assert processed.parent is not None
    assert sent.parent is not None
    assert processed.parent.span_id == (sent.context.span_id if sent.context else 0)
    assert f"{sent.parent.span_id:016x}" == PARENT
    assert processed.context is not None
    assert seen == [f"00-{TRACE}-{processed.context.span_id:016x}-01"]


async def test_what_is_published_and_settled_carries_its_span_on(tracer: Spans, kept: InMemorySpanExporter) -> None:
    sent: list[Mapping[str, Any]] = []

    class Keeping:
        link: Any = None

        async def publish(self, exchange: str, key: str, body: bytes, headers: Mapping[str, Any], **how: Any) -> None:
            sent.append(headers)

    async def settle(listener: Any, raw: Any) -> None:
        tracing.fail(KeyError("secret"))
        await published.publish("retries", "1s.shop.sold", raw.body, raw.headers, mandatory=True)

    published = traced.publishing(Keeping())
    headers = {"traceparent": GOOD, "cloudEvents_id": "7", "cloudEvents_subject": "order/7"}
    raw: Any = SimpleNamespace(headers=headers, exchange="events", routing_key="sold", body=b"{}")
    await traced.settling(settle)(cast(Listener, SimpleNamespace(queue="shop.sold")), raw)
    tracer.finish(within=5)
    again, processed = (span.attributes or {} for span in kept.get_finished_spans())
    assert processed["messaging.destination.name"] == "events:sold:shop.sold"
    assert (processed["error.type"], processed["cloudevents.event_subject"]) == ("KeyError", "order/7")
    assert again["messaging.destination.name"] == "retries:1s.shop.sold"
    span = kept.get_finished_spans()[0].context
    assert span is not None
    assert sent[0]["traceparent"] == f"00-{TRACE}-{span.span_id:016x}-01"


async def test_a_call_outside_carries_its_trace_and_tells_no_query_string(
    tracer: Spans, kept: InMemorySpanExporter
) -> None:
    with (
        tracer.begin("work", "consumer", {}, parent=GOOD),
        calling("GET", "https://key:word@gateway.example/v1/payments?reference=7") as call,
    ):
        call.answered(503)
    with calling("GET", "http://gateway.example/") as untraced:
        untraced.answered(200)
    tracer.finish(within=5)
    span = kept.get_finished_spans()[0]
    assert call.headers["traceparent"].split("-")[1] == TRACE
    assert (span.attributes or {})["url.full"] == "https://gateway.example:443/v1/payments"
    assert (span.attributes or {})["error.type"] == "503"
    assert len(kept.get_finished_spans()) == 2


def test_statements_are_told_without_their_values() -> None:
    name, said = described("SELECT  name\n FROM users WHERE email = 'a''b@c.de' AND id = $1")
    assert name == "SELECT users"
    assert said["db.query.text"] == "SELECT name FROM users WHERE email = ? AND id = $1"
    assert described("COMMIT")[0] == "COMMIT"


@pytest.mark.servers
def test_without_an_endpoint_nothing_is_wrapped_and_nothing_imported() -> None:
    program = (
        "import os, sys; from broker import running, tracing, traced; from edge_api import app;"
        "tracing.start('shop', '1', {}); tracing.start('shop', '1', {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x',"
        " 'OTEL_SDK_DISABLED': 'true'}); it = object();"
        "assert traced.asking(it) is traced.publishing(it) is traced.settling(it) is traced.answering(it, 's') is it;"
        # FastStream looks whether the conventions are installed.
        "found = {name for name in sys.modules if name.startswith('opentelemetry')};"
        "assert found <= {'opentelemetry', 'opentelemetry.semconv'}, found"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": "."})


@pytest.mark.parametrize(
    ("setting", "value"), [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_BSP_MAX_QUEUE_SIZE", "many")]
)
def test_settings_that_make_no_sense_are_refused_by_name(setting: str, value: str) -> None:
    with pytest.raises(BadTracingError, match=setting):
        tracing.start("shop", "1", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", setting: value})
    assert tracing.tracer is None


async def test_spans_arrive_at_a_collector_when_the_process_ends(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        sent, tracer = Counting("hedgerow_spans_sent_total"), start()
        with tracer.begin("work", "consumer", {"messaging.system": "rabbitmq"}, parent=GOOD):
            told_late = contextvars.copy_context()
        told_late.run(tracer.was, "SELECT", {"db.system.name": "postgresql"}, seconds=0.1, failed="40001")
        await asyncio.to_thread(tracer.finish, within=5)
        work, query = receiver.spans
    assert (work.service, work.kind, work.trace, work.parent, work.failed) == ("shop", "consumer", TRACE, PARENT, False)
    assert (query.kind, query.parent, query.failed) == ("client", work.id, True)
    assert sent.more == 2


def test_a_collector_that_hangs_holds_up_nobody_and_what_is_lost_is_counted(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        lost, tracer = Counting("hedgerow_spans_lost_total"), start(OTEL_BSP_MAX_QUEUE_SIZE="10")
        began = time.perf_counter()
        for _ in range(500):
            with tracer.begin("work", "consumer", {}, parent=GOOD):
                pass
        tracer.finish(within=0.1)
        assert time.perf_counter() - began < 2
    assert lost.more >= 500 - 2 * 10


def test_that_the_collector_is_away_is_said_once_and_so_is_its_return(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Recording:
        def warning(self, text: str) -> None:
            said.append(text)

        info = warning

    class Moody(InMemorySpanExporter):
        results = iter([1, 1, 1, 0, 0])

        def export(self, batch: object) -> SpanExportResult:
            return SpanExportResult(next(self.results))

    monkeypatch.setattr(spans, "log", Recording())
    it = spans._Said(Moody())
    for _ in range(5):
        it.export([])
    assert said == [
        "the collector of traces takes none, they are lost until it does",
        "the collector of traces takes them again",
    ]
