"""Asking on the wire.

Promise: any number of requests in flight over one exclusive reply queue; answers are matched by a random correlation id
and by nothing else; what is in flight when the connection is lost fails at once, and so does what is asked while the
broker takes nothing. One timer serves all deadlines.
"""

import asyncio

from pamqp import commands

from broker import topology
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
from broker.lane.deadlines import Deadlines
from broker.lane.headers import LONGEST_EXPIRATION, NEWS, OUTCOME, REFUSED, headers_of
from broker.lane.wire.channel import Channel
from broker.lane.wire.connection import Wire
from broker.lane.wire.fields import MalformedPropertiesError, properties, read_properties
from broker.lane.wire.frames import Delivery, Returned, publish_frame
from broker.lane.wire.link import WireLink
from broker.reconnecting import BrokerAwayError
from broker.shared import ensure_on_wire
from broker.telemetry import LANE_DROPPED

_REMEMBERED = 1_000
_TOKEN = 33
"""A correlation id of ours as a short string."""
_AFTER_CORRELATION_ID = 0x03FF
"""The flags of the properties that stand behind it (AMQP 0-9-1, 4.2.6.1)."""


class WireRequester:
    """Asks over one link, through `exchange`; `owner` names its reply queues."""

    def __init__(self, link: WireLink, *, owner: str, exchange: str = topology.REQUESTS) -> None:
        self._owner = owner
        self._exchange = exchange
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._deadlines = Deadlines(lambda: DeadlinePassedError("no answer came in time"))
        self._channel: Channel | None = None
        self._addresses: ReplyAddresses
        self._outcomes: dict[bytes, bool] = {}
        link.on_connect(self._set_up)
        link.on_loss(self._fail_all)

    @property
    def in_flight(self) -> int:
        """How many requests wait for their answers."""
        return len(self._waiting)

    async def request(self, request: Request) -> Answer:
        """Ask and wait for the answer. Raises LaneError or BrokerAwayError, and ValueError for headers that fit into no
        frame."""
        left = request.seconds_left
        if left <= 0:
            raise DeadlinePassedError(request.topic)
        channel = self._channel
        if channel is None or channel.wire.blocked:
            raise BrokerAwayError("the broker is away, or takes nothing now (an alarm)")
        if len(self._waiting) >= MAX_IN_FLIGHT:
            raise OverloadedError(request.topic)
        correlation_id = new_token()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        due = self._deadlines.add(answer, within=left)
        self._waiting[correlation_id] = answer
        try:
            if not channel.wire.writable.is_set():
                await channel.wire.until_writable(within=left)
            reply_to = self._addresses.get(request.topic) or await self._new_address(request)
            self._publish(channel, request, correlation_id, reply_to, left)
            return await answer
        finally:
            del self._waiting[correlation_id]
            due.discard(answer)
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, also where it could not even be sent

    async def _new_address(self, request: Request) -> str:
        try:
            async with asyncio.timeout(request.seconds_left):
                return await self._addresses.make(request.topic)
        except TimeoutError:
            raise DeadlinePassedError(request.topic) from None

    def _publish(self, channel: Channel, request: Request, correlation_id: str, reply_to: str, left: float) -> None:
        raw = properties(
            headers_of(request),
            correlation_id=correlation_id,
            reply_to=reply_to,
            expiration=str(int(min(left, LONGEST_EXPIRATION) * 1000)),
        )
        publish = publish_frame(channel.number, self._exchange, request.topic, mandatory=True)
        channel.publish(publish, raw, request.body)

    async def _set_up(self, wire: Wire) -> None:
        await ensure_on_wire(wire)
        channel = await wire.channel()
        channel.on_content = self._arrived
        queue = topology.reply_queue(self._owner, new_token())
        await channel.call(topology.replies(queue))
        await channel.call(commands.Basic.Consume(queue=queue, no_ack=True))
        self._addresses = ReplyAddresses(self._owner, lambda key: channel.call(topology.replies_to(queue, key)))
        self._channel = channel

    def _arrived(self, content: Delivery | Returned) -> None:
        try:
            correlation_id, refused, news = self._read(content.properties)
        except MalformedPropertiesError:
            LANE_DROPPED.labels("malformed-reply").inc()
            return
        answer = self._waiting.get(correlation_id)
        if answer is None or answer.done():
            LANE_DROPPED.labels("late-reply").inc()
        elif isinstance(content, Returned):
            answer.set_exception(NobodyThereError(content.reason))
        else:
            answer.set_result(Answer(content.body, refused, news))

    def _read(self, raw: bytes) -> tuple[str, bool, str | None]:
        """The correlation id, whether it is a refusal, and news. Replies of one sort differ in nothing but that id, so
        what stands before it is read once. Raises MalformedPropertiesError."""
        refused = self._outcomes.get(raw[:-_TOKEN])
        if refused is not None and raw[-_TOKEN] == _TOKEN - 1:
            return raw[1 - _TOKEN :].decode("ascii", "replace"), refused, None
        read = read_properties(raw)
        refused, correlation_id = read.headers.get(OUTCOME) == REFUSED, read.correlation_id or ""
        if (news := read.headers.get(NEWS)) is not None:
            return correlation_id, refused, str(news)
        is_last = not int.from_bytes(raw[:2], "big") & _AFTER_CORRELATION_ID
        if is_last and raw[-_TOKEN:] == b"\x20" + correlation_id.encode() and len(raw) < _REMEMBERED:
            if len(self._outcomes) >= _REMEMBERED:
                self._outcomes.clear()
            self._outcomes[raw[:-_TOKEN]] = refused
        return correlation_id, refused, None

    def _fail_all(self) -> None:
        self._channel = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionLostError("the connection to the broker was lost"))
