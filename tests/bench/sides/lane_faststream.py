"""FastStream's own `request()`, and a FastStream subscriber that answers; prefetch 64, acknowledged."""

import asyncio
import sys

import uvloop
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from tests.bench.sides.closed_loop import amqp, closed_loop, seconds
from tests.bench.sides.words import Say, Word

QUEUE = RabbitQueue("bench.words")
broker = RabbitBroker(amqp(), logger=None)


async def work() -> None:
    """Answer until told to stop."""

    @broker.subscriber(QUEUE, channel=Channel(prefetch_count=64))
    async def answer(asked: Say) -> Word:
        return Word(word=asked.word)

    await broker.start()
    await asyncio.Event().wait()


async def measure() -> None:
    """Ask for so many seconds."""
    await broker.start()
    await broker.declare_queue(QUEUE)

    async def ask(body: bytes) -> bytes:
        return (await broker.request(body, QUEUE, timeout=10)).body

    await closed_loop(ask, seconds=seconds())
    await broker.stop()


if __name__ == "__main__":
    uvloop.run(work() if sys.argv[1] == "worker" else measure())
