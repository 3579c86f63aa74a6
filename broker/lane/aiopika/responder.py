"""Answering.

Promise: a request is acknowledged after its reply is sent; one that may have killed a worker is tried alone, and
refused when it did so twice; work past its deadline is never started, however long it waited in a prefetch buffer.
"""

import contextlib
import time
from collections.abc import Iterable

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage, AbstractQueue

from broker import topology
from broker.connection import BrokerAwayError, Link
from broker.ids import new_token
from broker.lane import Answer, Answering, refuse
from broker.lane.wire import OUTCOME, REFUSED, REPLIED, MalformedRequestError, deadline_of, request_from
from broker.liveness import Liveness
from broker.telemetry import LANE_DROPPED, REDELIVERIES, log
from contracts.base import request_failed, request_poisoned

PREFETCH = 64
REQUEST_BODY_KEPT = 100_000
PATIENCE = 30.0
_PUBLISH_ERRORS = (BrokerAwayError, aio_pika.exceptions.AMQPError, RuntimeError, TimeoutError)


class AioPikaResponder:
    """Answers a service's requests with `answering`; consumes on one link, replies on another, because a broker under
    an alarm stops reading from connections that publish."""

    def __init__(
        self,
        service: str,
        topics: Iterable[str],
        answering: Answering,
        *,
        consuming: Link,
        publishing: Link,
        liveness: Liveness,
    ) -> None:
        self._service = service
        self._queue = topology.requests_queue(service)
        self._topics = tuple(topics)
        self._answering = answering
        self._consuming = consuming
        self._publishing = publishing
        self._liveness = liveness
        self._draining = False
        self._consumers: list[tuple[AbstractQueue, str]] = []
        self._replies: AbstractExchange
        self._kept: AbstractChannel
        publishing.on_connect(self._set_up_publishing)
        consuming.on_connect(self._set_up_consuming)

    async def drain(self, *, within: float) -> None:
        """Take nothing new and finish what has begun, for at most `within` seconds."""
        self._draining = True
        consumers, self._consumers = self._consumers, []
        for queue, tag in consumers:
            with contextlib.suppress(Exception):
                await queue.cancel(tag, timeout=within)
        await self._liveness.idle(self._queue, within=within)

    async def _set_up_publishing(self, connection: AbstractConnection) -> None:
        channel = await self._publishing.channel(connection, publisher_confirms=False)
        self._replies = await channel.get_exchange(topology.REPLIES, ensure=False)
        self._kept = await self._publishing.channel(connection)

    async def _set_up_consuming(self, connection: AbstractConnection) -> None:
        if self._draining:
            return
        channel = await self._consuming.channel(connection)
        await topology.declare_exchanges(channel)
        await topology.declare_requests(channel, self._service, self._topics)
        await channel.set_qos(prefetch_count=PREFETCH)
        alone = await self._consuming.channel(connection)
        await alone.set_qos(prefetch_count=1)
        requests = await channel.get_queue(self._queue, ensure=False)
        suspects = await alone.get_queue(topology.suspects_queue(self._service), ensure=False)
        self._liveness.watch(self._queue)
        self._consumers = [
            (requests, await requests.consume(self._take)),
            (suspects, await suspects.consume(self._take_suspect)),
        ]

    async def _take(self, message: AbstractIncomingMessage) -> None:
        if self._liveness.proven(self._queue, message):
            await _acknowledge(message)
            return
        with self._liveness.busy(self._queue):
            if message.redelivered:
                REDELIVERIES.labels(self._queue).inc()
                log.warning("a request was delivered again, it is tried alone", topic=message.routing_key)
                await self._set_aside(message, topology.REQUESTS, topology.suspects_key(self._service))
            else:
                await self._answer(message, message.routing_key or "")
            await _acknowledge(message)

    async def _take_suspect(self, message: AbstractIncomingMessage) -> None:
        topic = str(message.headers.get("suspected-topic", ""))
        with self._liveness.busy(self._queue):
            if message.redelivered:
                log.error("a request killed the service twice, it is kept in the dead letters", topic=topic)
                await self._reply(message, refuse(request_poisoned()))
                await self._set_aside(message, topology.DEAD_LETTERS, topology.suspects_queue(self._service))
            else:
                await self._answer(message, topic)
            await _acknowledge(message)

    async def _answer(self, message: AbstractIncomingMessage, topic: str) -> None:
        try:
            request = request_from(topic, message.body, message.headers, default_id=message.message_id or new_token())
        except MalformedRequestError as error:
            LANE_DROPPED.labels("malformed").inc()
            log.warning("a request was dropped", topic=topic, error=str(error)[:300])
            return
        if request.seconds_left <= 0:
            LANE_DROPPED.labels("expired").inc()
            return
        try:
            answer = await self._answering(request)
        except Exception:
            log.exception("a request failed", topic=topic)
            answer = refuse(request_failed())
        await self._reply(message, answer)

    async def _reply(self, message: AbstractIncomingMessage, answer: Answer) -> None:
        queue, _, exchange = (message.reply_to or "").partition("|")
        if exchange != topology.REPLIES:  # nobody waits, or somebody wants us to write elsewhere
            return
        left = _seconds_left(message)
        if left <= 0:
            LANE_DROPPED.labels("answered-late").inc()
            return
        reply = aio_pika.Message(
            answer.body,
            headers={OUTCOME: REFUSED if answer.refused else REPLIED},
            content_type="application/json",
            correlation_id=message.correlation_id,
        )
        try:
            await self._publishing.wait_up(within=left)
            await self._replies.publish(reply, queue, mandatory=False, timeout=left)
        except _PUBLISH_ERRORS as error:
            LANE_DROPPED.labels("reply-not-sent").inc()
            log.warning("a reply could not be sent", topic=message.routing_key, error=repr(error))

    async def _set_aside(self, message: AbstractIncomingMessage, exchange: str, key: str) -> None:
        """Pass a copy on. One that can't be passed on is given up: a request that stays unacknowledged would block
        those behind it."""
        for_later = exchange == topology.DEAD_LETTERS
        copy = aio_pika.Message(
            message.body[:REQUEST_BODY_KEPT] if for_later else message.body,
            headers={"suspected-topic": message.routing_key or "", **message.headers},
            content_type=message.content_type,
            correlation_id=message.correlation_id,
            message_id=new_token(),
            reply_to=message.reply_to,
            expiration=None if for_later else message.expiration,
        )
        within = PATIENCE if for_later else _seconds_left(message)
        try:
            await self._publishing.wait_up(within=within)
            target = await self._kept.get_exchange(exchange, ensure=False)
            await target.publish(copy, key, mandatory=True, timeout=PATIENCE)
        except _PUBLISH_ERRORS as error:
            LANE_DROPPED.labels("not-set-aside").inc()
            log.error("a request that was delivered again is lost", topic=message.routing_key, error=repr(error))


def _seconds_left(message: AbstractIncomingMessage) -> float:
    """What a message that may be malformed has left of its time."""
    try:
        return max(0.0, deadline_of(message.headers) - time.time())
    except (KeyError, TypeError, ValueError):
        return 0.0


async def _acknowledge(message: AbstractIncomingMessage) -> None:
    """A lost channel can't be acknowledged on: the broker delivers again, and handlers are idempotent."""
    with contextlib.suppress(aio_pika.exceptions.AMQPError, RuntimeError):
        await message.ack()
