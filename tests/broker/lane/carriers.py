"""Both ends of the request lane, whoever carries it. Each carrier must pass test_contract.py and test_cuts.py."""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from broker import topology
from broker.connection import declare
from broker.ids import new_token
from broker.lane import Answer, Answering, Request, Requester, Responder
from broker.lane.carriers import Carrier
from broker.liveness import Liveness
from broker.reconnecting import Reconnecting
from tests.broker.lane.words import SAY


@dataclass
class Lane:
    """Makes requesters and responders, each on links of its own, and lets a test look under the lane."""

    carried_by: str
    amqp: str
    stack: AsyncExitStack

    async def requester(self) -> Requester:
        """Somebody who asks, connected."""
        carrier = self._carrier("requester")
        requester = carrier.requester(owner="tests")
        await self._up(carrier.publishing)
        return requester

    async def responder(self, answering: Answering, *topics: str, service: str = "echo") -> Responder:
        """Somebody who answers, connected."""
        carrier = self._carrier("responder")
        carrier.requester(owner="tests")  # declares the exchanges
        responder = carrier.responder(service, topics or (SAY,), answering, Liveness(carrier.publisher))
        await self._up(carrier.publishing, carrier.consuming)
        return responder

    async def channel(self) -> AbstractChannel:
        """A channel of a plain client, the exchanges declared."""
        connection = await aio_pika.connect(self.amqp)
        self.stack.push_async_callback(connection.close)
        channel = await connection.channel()
        await declare(channel, topology.shared())
        return channel

    def _carrier(self, name: str) -> Carrier:
        return Carrier(self.amqp, name=name, carried_by=self.carried_by)

    async def _up(self, *links: Reconnecting[Any]) -> None:
        for link in links:
            await link.start()
            self.stack.push_async_callback(link.close)
            await link.wait_up(within=10)


def asking(body: bytes = b"{}", *, topic: str = SAY, within: float = 5.0) -> Request:
    """A request that may take so many seconds."""
    return Request(topic=topic, body=body, deadline=time.time() + within)


async def echo(request: Request) -> Answer:
    """Answers with what was asked."""
    return Answer(request.body)


async def publish(channel: AbstractChannel, exchange: str, key: str, body: bytes = b"{}", **properties: Any) -> None:
    """Publish as a stranger would."""
    target = await channel.get_exchange(exchange, ensure=False)
    await target.publish(aio_pika.Message(body, message_id=new_token(), **properties), key, mandatory=False)


async def own_queue(channel: AbstractChannel, exchange: str, key: str) -> AbstractQueue:
    """A queue of one's own, bound."""
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(exchange, key)
    return queue


async def next_message(queue: AbstractQueue, *, within: float = 5) -> AbstractIncomingMessage:
    """The next message of a queue."""
    async with queue.iterator(no_ack=True, timeout=within) as messages:
        return await anext(messages)
