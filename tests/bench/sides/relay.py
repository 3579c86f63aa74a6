"""A relay with a full outbox, and one that waits for the next commit. HEDGEROW_LANE says what carries it."""

import asyncio
import json
import os
import time
from functools import partial
from statistics import median
from typing import ClassVar

import aio_pika
import asyncpg
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from broker import topology
from broker.ids import new_token
from broker.transaction import Database
from contracts.base import Event, Said
from tests.bench.sides.closed_loop import amqp, seconds
from tests.broker.shop import linked, relaying, say, shop
from tests.support.eventually import eventually

ROWS_A_SECOND = 5_000
AGGREGATES, EVENTS = 50, 4
IDLE_EVENTS = 50


class Noted(Event):
    """An event of the bench."""

    topic: ClassVar[str] = "bench.noted.v1"
    subject: ClassVar[str] = "thing"
    thing: str
    text: str = "as long as the body of an event usually is, which is about two hundred characters or a little less"


async def measure() -> None:
    """Measure, and print the figures as JSON."""
    async with (
        shop(os.environ["BENCH_DATABASE"], says=frozenset({Noted.topic})) as database,
        linked(amqp()) as publisher,
    ):
        rows = 0
        while rows < ROWS_A_SECOND * seconds():
            await say(database, *_events())
            rows += AGGREGATES * EVENTS
        await publisher.link.start()
        await publisher.link.wait_up(within=20)
        heard: asyncio.Queue[float] = asyncio.Queue()
        async with await aio_pika.connect(amqp()) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("bench.noted", durable=True, arguments={"x-queue-type": "quorum"})
            await queue.bind(topology.EVENTS, Noted.topic)
            look = await asyncpg.connect(database.url)
            began = time.perf_counter()
            async with relaying(database, publisher):
                await eventually(partial(_is_empty, look), within=60 + 10 * seconds())
                took = time.perf_counter() - began
                await look.close()
                counted = (await channel.declare_queue("bench.noted", passive=True)).declaration_result.message_count
                if counted != rows:
                    raise AssertionError(f"{rows} events were committed, {counted} are in the queue")
                await queue.purge()
                await queue.consume(partial(_hear, heard), no_ack=True)
                waits = [await _idle(database, heard) for _ in range(IDLE_EVENTS)]
            await queue.delete(if_unused=False, if_empty=False)
    print(json.dumps({"events/s, confirmed": rows / took, "commit to delivery, p50 ms": median(waits) * 1000}))


def _events() -> list[Said]:
    things = [new_token() for _ in range(AGGREGATES)]
    return [Noted(thing=thing) for _ in range(EVENTS) for thing in things]


async def _is_empty(look: asyncpg.Connection) -> bool:
    return not await look.fetchval("SELECT EXISTS (SELECT FROM outbox)")


async def _hear(heard: "asyncio.Queue[float]", _: AbstractIncomingMessage) -> None:
    heard.put_nowait(time.perf_counter())


async def _idle(database: Database, heard: "asyncio.Queue[float]") -> float:
    await asyncio.sleep(0.02)
    await say(database, Noted(thing=new_token()))
    committed = time.perf_counter()
    return await asyncio.wait_for(heard.get(), 10) - committed


if __name__ == "__main__":
    uvloop.run(measure())
