"""Answering by aio-pika; see broker/lane/taking.py for what becomes of a request.

Promise: a request is acknowledged after its reply is sent. It consumes on one link and replies on another, because a
broker under an alarm stops reading from connections that publish.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import cast

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange, AbstractIncomingMessage, AbstractQueue, FieldValue

from broker import topology
from broker.connection import Link, declare
from broker.lane import PREFETCH, Answer, Answering
from broker.lane.headers import NEWS, OUTCOME, REFUSED, REPLIED
from broker.lane.taking import Delivered, Reply, Taking
from broker.lane.wire.fields import Properties
from broker.liveness import Liveness, is_probe
from broker.publisher import Publisher
from broker.reconnecting import BrokerAwayError
from broker.shared import ensure


class AioPikaResponder:
    """Answers a service's requests with `answering`."""

    def __init__(
        self,
        service: str,
        topics: Iterable[str],
        answering: Answering,
        *,
        consuming: Link,
        publisher: Publisher,
        liveness: Liveness,
    ) -> None:
        self._service = service
        self._queue = topology.requests_queue(service)
        self._topics = tuple(topics)
        self._taking = Taking(service, answering, publisher)
        self._consuming = consuming
        self._publishing = cast(Link, publisher.link)
        self._liveness = liveness
        self._draining = False
        self._consumers: list[tuple[AbstractQueue, str]] = []
        self._replies: AbstractExchange
        self._publishing.on_connect(self._set_up_publishing)
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

    async def _set_up_consuming(self, connection: AbstractConnection) -> None:
        if self._draining:
            return
        channel = await self._consuming.channel(connection)
        await ensure(connection)
        await declare(channel, topology.requests(self._service, self._topics))
        await channel.set_qos(prefetch_count=PREFETCH)
        alone = await self._consuming.channel(connection)
        await alone.set_qos(prefetch_count=1)
        requests = await channel.get_queue(self._queue, ensure=False)
        suspects = await alone.get_queue(topology.suspects_queue(self._service), ensure=False)
        self._liveness.watch(self._queue)
        self._consumers = [
            (requests, await requests.consume(self._settle(self._taking.take))),
            (suspects, await suspects.consume(self._settle(self._taking.take_suspect))),
        ]

    def _settle(
        self, take: Callable[[Delivered], Awaitable[None]]
    ) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        async def settle(message: AbstractIncomingMessage) -> None:
            self._liveness.prove(self._queue)
            if message.exchange == topology.RETURNS and is_probe(message.type):
                await _acknowledge(message)
                return
            with self._liveness.busy(self._queue):
                await take(_delivered(message, self._reply))

        return settle

    async def _reply(self, queue: str, correlation_id: str | None, answer: Answer, within: float) -> None:
        """Send an answer. Raises BrokerAwayError."""
        headers: dict[str, FieldValue] = {OUTCOME: REFUSED if answer.refused else REPLIED}
        if answer.news is not None:
            headers[NEWS] = answer.news
        reply = aio_pika.Message(
            answer.body,
            headers=headers,
            content_type="application/json",
            correlation_id=correlation_id,
        )
        await self._publishing.wait_up(within=within)
        try:
            await self._replies.publish(reply, queue, mandatory=False, timeout=within)
        except (aio_pika.exceptions.AMQPError, RuntimeError, TimeoutError) as error:
            raise BrokerAwayError(repr(error)) from error


def _delivered(message: AbstractIncomingMessage, reply: Reply) -> Delivered:
    expiration = message.expiration
    properties = Properties(
        message.headers,
        message.correlation_id,
        message.reply_to,
        None if expiration is None else str(int(float(cast(float, expiration)) * 1000)),
        message.message_id,
        message.type,
    )
    acknowledge = partial(_acknowledge, message)
    return Delivered(message.routing_key or "", message.body, properties, bool(message.redelivered), reply, acknowledge)


async def _acknowledge(message: AbstractIncomingMessage) -> None:
    """A lost channel can't be acknowledged on: the broker delivers again, and handlers are idempotent."""
    with contextlib.suppress(aio_pika.exceptions.AMQPError, RuntimeError):
        await message.ack()
