"""A schema with an outbox and whoever relays it, without the rest of a service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from sqlalchemy import text

from broker.lane.carriers import Carrier
from broker.migrate import migrate
from broker.outbox import Origin
from broker.publisher import Publisher
from broker.relay import Relay
from broker.transaction import Database, Transaction
from contracts.base import Said
from tests.broker.diary import Closed, Grown, Opened, Write
from tests.support.eventually import eventually

SAYS = frozenset(kind.topic for kind in (Opened, Grown, Closed, Write))


@asynccontextmanager
async def shop(url: str, *, says: frozenset[str] = SAYS) -> AsyncIterator[Database]:
    """A schema whose service may say everything (or `says`)."""
    await migrate(url, None)
    database = Database(url, service="shop", says=says)
    try:
        yield database
    finally:
        await database.close()


async def say(database: Database, *messages: Said) -> None:
    """Say it in a transaction of its own."""

    async def work(transaction: Transaction) -> None:
        transaction.say(*messages)

    await database.transact(Origin("flow", "cause"), work)


async def outbox(database: Database) -> list[Any]:
    """The rows of the outbox in the order of their ids."""
    async with database.reading() as transaction:
        return list((await transaction.session.execute(text("SELECT * FROM outbox ORDER BY id"))).all())


async def outbox_is_empty(database: Database, *, within: float = 10) -> None:
    """Wait until everything is sent."""

    async def check() -> bool:
        return await outbox(database) == []

    await eventually(check, within=within)


@asynccontextmanager
async def linked(amqp: str, *, carried_by: str | None = None) -> AsyncIterator[Publisher]:
    """A publisher whose link declares the platform's exchanges; it is not started yet."""
    carrier = Carrier(amqp, name="shop", carried_by=carried_by)
    carrier.requester(owner=carrier.publishing.login.partition("@")[0])  # declares the exchanges
    try:
        yield carrier.publisher
    finally:
        await carrier.publishing.close()


@asynccontextmanager
async def relaying(database: Database, publisher: Publisher) -> AsyncIterator[asyncio.Task[None]]:
    """A relay at work; the task may be cancelled."""
    relay = Relay("shop", database.url, publisher)
    database.wake = relay.wake
    if not publisher.link.is_up:
        await publisher.link.start()
        await publisher.link.wait_up(within=20)
    task = asyncio.create_task(relay.run_forever())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Listener:
    """A plain client that knows the exchange and the topic; `heard` has what it got."""

    def __init__(self) -> None:
        self.heard: list[AbstractIncomingMessage] = []

    async def has_heard(self, number: int, *, within: float = 10) -> None:
        """Wait until it has heard so many."""

        async def check() -> bool:
            assert len(self.heard) >= number
            return True

        await eventually(check, within=within)

    def sequences(self, account: str) -> list[int]:
        """The sequences of an account's events, each as it was heard first."""
        found = [m.headers["sequence"] for m in self.heard if m.headers["cloudEvents_subject"] == account]
        return list(dict.fromkeys(int(str(sequence)) for sequence in found))


@asynccontextmanager
async def listening(amqp: str, exchange: str = "events", topic: str = "tests.#") -> AsyncIterator[Listener]:
    """A listener that needs nothing but aio-pika."""
    listener = Listener()

    async def hear(message: AbstractIncomingMessage) -> None:
        listener.heard.append(message)

    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        await channel.declare_exchange(exchange, "topic", durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, topic)
        await queue.consume(hear, no_ack=True)
        yield listener
