"""The carriers of the request lane. Each must pass test_contract.py; a new one is added to CARRIERS."""

import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from broker import topology
from broker.connection import Link
from broker.ids import new_token
from broker.lane import Answer, Answering, Request, Requester, Responder
from broker.lane.aiopika import AioPikaRequester, AioPikaResponder
from broker.liveness import Liveness
from tests.broker.lane.words import SAY


class MakesRequester(Protocol):
    """Makes the asking end."""

    def __call__(self, link: Link, *, owner: str) -> Requester: ...


class MakesResponder(Protocol):
    """Makes the answering end."""

    def __call__(
        self,
        service: str,
        topics: Iterable[str],
        answering: Answering,
        *,
        consuming: Link,
        publishing: Link,
        liveness: Liveness,
    ) -> Responder: ...


@dataclass(frozen=True)
class Carrier:
    """How to make both ends."""

    requester: MakesRequester
    responder: MakesResponder


CARRIERS = {"aio-pika": Carrier(AioPikaRequester, AioPikaResponder)}


@dataclass
class Lane:
    """Makes requesters and responders, each on links of its own, and lets a test look under the lane."""

    carrier: Carrier
    amqp: str
    stack: AsyncExitStack
    links: list[Link] = field(default_factory=list)

    async def requester(self) -> Requester:
        """Somebody who asks, connected."""
        link = self._link("requester")
        requester = self.carrier.requester(link, owner="tests")
        await self._up(link)
        return requester

    async def responder(self, answering: Answering, *topics: str, service: str = "echo") -> Responder:
        """Somebody who answers, connected."""
        consuming, publishing = self._link("consuming"), self._link("publishing")
        liveness = Liveness(publishing)
        responder = self.carrier.responder(
            service, topics or (SAY,), answering, consuming=consuming, publishing=publishing, liveness=liveness
        )
        await self._up(publishing, consuming)
        return responder

    async def channel(self) -> AbstractChannel:
        """A channel of a plain client, the exchanges declared."""
        connection = await aio_pika.connect(self.amqp)
        self.stack.push_async_callback(connection.close)
        channel = await connection.channel()
        await topology.declare_exchanges(channel)
        return channel

    def _link(self, name: str) -> Link:
        self.links.append(Link(self.amqp, name=name))
        return self.links[-1]

    async def _up(self, *links: Link) -> None:
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
