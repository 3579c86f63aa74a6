"""Our request lane, without a service around it: `worker` or `client`. HEDGEROW_LANE says what carries it,
BENCH_EXCHANGE through which exchange it asks."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import aio_pika
import uvloop

from broker import topology
from broker.connection import declare
from broker.lane import Answer, Answering, NobodyThereError, Request, Requester
from broker.lane.carriers import Carrier
from broker.liveness import Liveness
from broker.reconnecting import BrokerAwayError, Reconnecting
from broker.shared import ensure
from tests.bench.sides.closed_loop import amqp, closed_loop, seconds
from tests.bench.sides.words import Say, Word
from tests.support.eventually import eventually


@asynccontextmanager
async def carried(answering: Answering | None = None) -> AsyncIterator[Requester]:
    """Who asks, connected; with `answering` also who answers."""
    carrier = Carrier(amqp(), name="bench")
    requester = carrier.requester(owner="bench", exchange=os.environ["BENCH_EXCHANGE"])
    links: list[Reconnecting[Any]] = [carrier.publishing]
    if answering is not None:
        carrier.responder("bench", (Say.topic,), answering, Liveness(carrier.publisher))
        links.append(carrier.consuming)
    async with AsyncExitStack() as stack:
        for link in links:
            await link.start()
            stack.push_async_callback(link.close)
            await link.wait_up(within=20)
        yield requester


async def answer(request: Request) -> Answer:
    """What a service does at least: read the question, write the reply."""
    asked = Say.model_validate_json(request.body)
    return Answer(Word(word=asked.word).model_dump_json().encode())


async def work() -> None:
    """Answer until told to stop."""
    async with carried(answer):
        await asyncio.Event().wait()


async def measure() -> None:
    """Ask for so many seconds."""
    async with carried() as requester:

        async def ask(body: bytes) -> bytes:
            return (await requester.request(Request(Say.topic, body, time.time() + 5))).body

        await eventually(partial(_is_there, requester), within=20)
        async with await aio_pika.connect(amqp()) as connection:
            await ensure(connection)
            await declare(await connection.channel(), topology.through_front_door("bench", (Say.topic,)))
        await closed_loop(ask, seconds=seconds())


async def _is_there(requester: Requester) -> bool:
    try:
        await requester.request(Request(Say.topic, b'{"word":""}', time.time() + 5))
    except (NobodyThereError, BrokerAwayError):
        return False
    return True


if __name__ == "__main__":
    uvloop.run(work() if sys.argv[1] == "worker" else measure())
