"""Request/reply in plain aio-pika, as its tutorial does it (a correlation map, an exclusive reply queue), tuned:
unconfirmed channels, prefetch 64, acknowledged."""

import asyncio
import sys
from uuid import uuid4

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from tests.bench.sides.closed_loop import amqp, closed_loop, seconds
from tests.bench.sides.words import Say, Word

QUEUE = "bench.words"


async def work() -> None:
    """Answer until told to stop."""
    connection = await aio_pika.connect(amqp())
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=64)
    queue = await channel.declare_queue(QUEUE)

    async def answer(message: AbstractIncomingMessage) -> None:
        reply = Word(word=Say.model_validate_json(message.body).word)
        body = aio_pika.Message(reply.model_dump_json().encode(), correlation_id=message.correlation_id)
        await channel.default_exchange.publish(body, message.reply_to or "", mandatory=False)
        await message.ack()

    await queue.consume(answer)
    await asyncio.Event().wait()


async def measure() -> None:
    """Ask for so many seconds."""
    connection = await aio_pika.connect(amqp())
    channel = await connection.channel(publisher_confirms=False)
    await channel.declare_queue(QUEUE)
    replies = await channel.declare_queue(exclusive=True)
    waiting: dict[str, asyncio.Future[bytes]] = {}

    async def answered(message: AbstractIncomingMessage) -> None:
        waiting.pop(message.correlation_id or "").set_result(message.body)

    async def ask(body: bytes) -> bytes:
        correlation_id = str(uuid4())
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        waiting[correlation_id] = answer
        question = aio_pika.Message(body, correlation_id=correlation_id, reply_to=replies.name)
        await channel.default_exchange.publish(question, QUEUE, mandatory=False)
        return await answer

    await replies.consume(answered, no_ack=True)
    await closed_loop(ask, seconds=seconds())
    await connection.close()


if __name__ == "__main__":
    uvloop.run(work() if sys.argv[1] == "worker" else measure())
