"""How a service's events and commands arrive: FastStream consumers on quorum queues.

Promise: a message is acknowledged only after it is settled; each queue has a channel and a prefetch of its own, so that
an error on one does not end the handlers of another; after a loss of the connection it consumes anew; before it ends
it takes nothing new and finishes what it has begun.
"""

import asyncio
import contextlib

import aio_pika
from aio_pika.abc import AbstractConnection
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.message import RabbitMessage
from yarl import URL

from broker import topology, traced
from broker.connection import Link, declare
from broker.lane import Requester
from broker.liveness import Liveness, is_probe
from broker.retries import Retries
from broker.service import Listener, Service
from broker.settling import Settlement
from broker.shared import ensure
from broker.transaction import Database

PREFETCH = 20
GRACE = 8.0
"""How long what has begun may take to finish once nothing new is taken, in seconds."""


class Subscriptions:
    """Consumes what one service hears and does."""

    def __init__(
        self,
        service: Service,
        database: Database | None,
        *,
        link: Link,
        requester: Requester,
        retries: Retries,
        liveness: Liveness,
    ) -> None:
        self._service = service
        self._database = database
        self._link = link
        self._liveness = liveness
        self._settlement = Settlement(service, database, requester=requester, retries=retries)
        self._settle = traced.settling(self._settlement.settle)
        self._broker: RabbitBroker | None = None
        self._plain: RabbitBroker | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        link.on_connect(self._set_up)

    async def start(self) -> None:
        """Consume. The queues are bound already: what is heard from now on is waited for in order."""
        await self._settlement.join()
        await self._consume()
        if self._service.router.subscribers:
            self._plain = self._new_broker()
            self._plain.include_router(self._service.router)
            await self._plain.start()

    async def drain(self, *, within: float) -> None:
        """Take nothing new, finish what has begun, close."""
        if self._broker is not None:
            await self._leave(self._broker, within=within)
        await asyncio.gather(*self._leaving)
        if self._plain is not None:
            await self._leave(self._plain, within=within)

    async def _set_up(self, connection: AbstractConnection) -> None:
        """Declare the queues; after a loss of the connection, consume anew: FastStream restores consumers only if all
        of the broker was back when it tried."""
        await ensure(connection)
        async with connection.channel() as channel:
            for topic, listener in self._service.listeners.items():
                await declare(channel, topology.work(self._service.name, topic, exchange=listener.exchange))
        if self._broker is not None:
            task = asyncio.create_task(self._leave(self._broker, within=GRACE))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            await self._consume()

    def _new_broker(self) -> RabbitBroker:
        url = URL(self._link.url).update_query(name=f"{self._service.name} events and commands")
        return RabbitBroker(str(url), logger=None, apply_types=False)

    async def _consume(self) -> None:
        broker = self._new_broker()
        for listener in self._service.listeners.values():
            self._subscribe(broker, listener)
        self._broker = broker  # before it starts: what it takes meanwhile must be drained, too
        await broker.start()

    async def _leave(self, broker: RabbitBroker, *, within: float) -> None:
        """Cancel, wait, close: FastStream's own stop would wait first and cancel after, and what is delivered in
        between would count as a failed delivery."""
        for subscriber in broker.subscribers:
            queue, tag = getattr(subscriber, "_queue_obj", None), getattr(subscriber, "_consumer_tag", None)
            with contextlib.suppress(Exception):
                if queue is not None and tag is not None:
                    async with asyncio.timeout(2):
                        await queue.cancel(tag)
                    subscriber._consumer_tag = None  # type: ignore[attr-defined]
        queues = (listener.queue for listener in self._service.listeners.values())
        await self._liveness.idle(*queues, within=within)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                await broker.stop()

    def _subscribe(self, broker: RabbitBroker, listener: Listener) -> None:
        async def receive(message: RabbitMessage) -> None:
            await self._receive(listener, message)

        self._liveness.watch(listener.queue)
        broker.subscriber(
            # Declared by us already; passive, so that a deleted queue is an error, not a queue without a binding.
            RabbitQueue(listener.queue, durable=True, declare=False),
            RabbitExchange(),
            # One at a time needs no more; and what is not prefetched is not delivered again when the process dies.
            channel=Channel(prefetch_count=1 if self._database is None else PREFETCH),
            ack_policy=AckPolicy.MANUAL,
            decoder=_as_it_came,
            no_reply=True,
        )(receive)

    async def _receive(self, listener: Listener, message: RabbitMessage) -> None:
        raw = message.raw_message
        self._liveness.prove(listener.queue)
        if raw.exchange != topology.RETURNS or not is_probe(raw.type):
            with self._liveness.busy(listener.queue):
                await self._settle(listener, raw)
        # A lost channel can't be acknowledged on: the broker delivers again, and the inbox knows it.
        with contextlib.suppress(aio_pika.exceptions.AMQPError, RuntimeError):
            await raw.ack()


async def _as_it_came(message: RabbitMessage) -> RabbitMessage:
    """A FastStream decoder that leaves the message alone."""
    return message
