"""Where pieces of work are told of: around what asks, answers, publishes and settles.

Promise: each of these returns what it was given, unwrapped, where nothing is traced: the lane pays nothing. Names and
attributes are those of OpenTelemetry's semantic conventions for messaging (RabbitMQ). A reply is the end of the span
that asked, not a message of its own.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from broker import topology, tracing
from broker.lane import Answer, Answering, Request
from broker.lane.repeating import Carried
from broker.publisher import Publisher
from broker.tracing import Attributes, Tracer

if TYPE_CHECKING:  # an edge consumes nothing, and loads none of it
    from aio_pika.abc import AbstractIncomingMessage

    from broker.service import Listener

Settle = Callable[["Listener", "AbstractIncomingMessage"], Awaitable[None]]


def asking(requester: Carried, exchange: str = topology.REQUESTS) -> Carried:
    """The same requester, which asks through `exchange`, traced where anything is."""
    return requester if tracing.tracer is None else _Asking(requester, exchange, tracing.tracer)


def answering(answer: Answering, service: str) -> Answering:
    """The same way to answer, traced where anything is."""
    tracer, queue = tracing.tracer, topology.requests_queue(service)
    if tracer is None:
        return answer

    async def traced(request: Request) -> Answer:
        attributes = {
            **_messaging("process", "", request.topic, queue),
            "messaging.message.conversation_id": request.request_id,
        }
        with tracer.begin(f"process {request.topic}", "consumer", attributes, parent=request.traceparent) as span:
            request.traceparent = span.traceparent
            return await answer(request)

    return traced


def publishing(publisher: Publisher) -> Publisher:
    """The same publisher, traced where anything is."""
    return publisher if tracing.tracer is None else _Publishing(publisher, tracing.tracer)


def settling(settle: Settle) -> Settle:
    """The same way to settle messages, traced where anything is."""
    tracer = tracing.tracer
    if tracer is None:
        return settle

    async def traced(listener: "Listener", raw: "AbstractIncomingMessage") -> None:
        headers = raw.headers
        attributes = {
            **_messaging("process", str(raw.exchange), str(raw.routing_key), listener.queue),
            **_about(headers),
            "messaging.message.body.size": len(raw.body),
        }
        parent = str(headers.get("traceparent", ""))
        with tracer.begin(f"process {listener.queue}", "consumer", attributes, parent=parent) as span:
            headers["traceparent"] = span.traceparent
            await settle(listener, raw)

    return traced


class _Asking:
    """Each request is a span, which ends with its answer."""

    def __init__(self, requester: Carried, exchange: str, tracer: Tracer) -> None:
        self._requester = requester
        self._exchange = exchange
        self._tracer = tracer

    @property
    def in_flight(self) -> int:
        return self._requester.in_flight

    async def request(self, request: Request) -> Answer:
        attributes = {
            **_messaging("send", self._exchange, request.topic),
            "messaging.message.conversation_id": request.request_id,
        }
        with self._tracer.begin(f"send {request.topic}", "producer", attributes, parent=request.traceparent) as span:
            return await self._requester.request(replace(request, traceparent=span.traceparent))


class _Publishing:
    """Each message that may have an effect is a span, which ends with the broker's confirm."""

    def __init__(self, publisher: Publisher, tracer: Tracer) -> None:
        self.link = publisher.link
        self._publisher = publisher
        self._tracer = tracer

    async def publish(self, exchange: str, key: str, body: bytes, headers: Mapping[str, Any], **how: Any) -> None:
        attributes = {
            **_messaging("send", exchange, key),
            **_about(headers),
            "messaging.message.body.size": len(body),
        }
        parent = str(headers.get("traceparent", ""))
        with self._tracer.begin(f"send {key}", "producer", attributes, parent=parent) as span:
            await self._publisher.publish(exchange, key, body, {**headers, "traceparent": span.traceparent}, **how)


def _messaging(operation: str, exchange: str, key: str, queue: str | None = None) -> dict[str, str | int]:
    """The destination by RabbitMQ's page of the conventions: a part that says the same as another is left out."""
    parts = [part for part in (exchange, key, None if queue == key else queue) if part]
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": ":".join(parts),
        "messaging.rabbitmq.destination.routing_key": key,
    }


def _about(headers: Mapping[str, Any]) -> Attributes:
    """Which message it is. Its subject is an aggregate's id, by which all traces of an order are found."""
    names = {
        "messaging.message.id": "cloudEvents_id",
        "messaging.message.conversation_id": "correlation-id",
        "cloudevents.event_subject": "cloudEvents_subject",
    }
    return {name: str(headers[header]) for name, header in names.items() if header in headers}
