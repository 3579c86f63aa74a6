"""Asking by aio-pika.

Promise: any number of requests in flight over one exclusive reply queue; answers are matched by a random correlation id
and by nothing else; what is in flight when the connection is lost fails at once.
"""

import asyncio

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange, AbstractIncomingMessage

from broker import topology
from broker.connection import Link, declare
from broker.ids import new_token
from broker.lane import (
    MAX_IN_FLIGHT,
    Answer,
    ConnectionLostError,
    DeadlinePassedError,
    NobodyThereError,
    OverloadedError,
    Request,
)
from broker.lane.addresses import ReplyAddresses
from broker.lane.headers import LONGEST_EXPIRATION, NEWS, OUTCOME, REFUSED, headers_of
from broker.reconnecting import BrokerAwayError
from broker.shared import ensure
from broker.telemetry import LANE_DROPPED


class AioPikaRequester:
    """Asks over one link, through `exchange`; `owner` names its reply queues."""

    def __init__(self, link: Link, *, owner: str, exchange: str = topology.REQUESTS) -> None:
        self._link = link
        self._owner = owner
        self._asked_through = exchange
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._exchange: AbstractExchange | None = None
        self._addresses: ReplyAddresses
        link.on_connect(self._set_up)
        link.on_loss(self._fail_all)

    async def request(self, request: Request) -> Answer:
        """Ask and wait for the answer. Raises LaneError or BrokerAwayError."""
        left = request.seconds_left
        if left <= 0:
            raise DeadlinePassedError(request.topic)
        if self._exchange is None:
            raise BrokerAwayError("the broker is away")
        if len(self._waiting) >= MAX_IN_FLIGHT:
            raise OverloadedError(request.topic)
        correlation_id = new_token()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = answer
        try:
            async with asyncio.timeout(left):
                await self._publish(self._exchange, request, correlation_id, left)
                return await answer
        except TimeoutError:
            raise DeadlinePassedError(request.topic) from None
        except aio_pika.exceptions.DeliveryError:
            raise NobodyThereError(request.topic) from None
        except (aio_pika.exceptions.AMQPError, RuntimeError) as error:
            raise BrokerAwayError(repr(error)) from error
        finally:
            del self._waiting[correlation_id]
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, also where publishing failed first

    async def _publish(self, exchange: AbstractExchange, request: Request, correlation_id: str, left: float) -> None:
        message = aio_pika.Message(
            request.body,
            headers=headers_of(request),
            content_type="application/json",
            correlation_id=correlation_id,
            message_id=correlation_id,
            reply_to=self._addresses.get(request.topic) or await self._addresses.make(request.topic),
            expiration=min(left, LONGEST_EXPIRATION),
        )
        await exchange.publish(message, request.topic, mandatory=True)

    async def _set_up(self, connection: AbstractConnection) -> None:
        # Confirmed, because aiormq knows what was returned only on channels that confirm.
        channel = await self._link.channel(connection)
        await ensure(connection)
        name = topology.reply_queue(self._owner, new_token())
        await declare(channel, [topology.replies(name)])
        queue = await channel.get_queue(name, ensure=False)
        await queue.consume(self._answered, no_ack=True)
        self._addresses = ReplyAddresses(self._owner, lambda key: declare(channel, [topology.replies_to(name, key)]))
        self._exchange = await channel.get_exchange(self._asked_through, ensure=False)

    async def _answered(self, message: AbstractIncomingMessage) -> None:
        answer = self._waiting.get(message.correlation_id or "")
        if answer is None or answer.done():
            LANE_DROPPED.labels("late-reply").inc()
            return
        news = message.headers.get(NEWS)
        refused = message.headers.get(OUTCOME) == REFUSED
        answer.set_result(Answer(message.body, refused, None if news is None else str(news)))

    def _fail_all(self) -> None:
        self._exchange = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionLostError("the connection to the broker was lost"))
