"""Answering on the wire; see broker/lane/taking.py for what becomes of a request.

Promise: a request is acknowledged after its reply, on the same channel, so that the broker takes them in this order. A
broker under an alarm reads neither; nobody else could ask then either.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from pamqp import commands

from broker import topology
from broker.lane import PREFETCH, Answer, Answering
from broker.lane.headers import NEWS, OUTCOME, REFUSED, REPLIED
from broker.lane.taking import Delivered, Taking
from broker.lane.wire.acknowledging import Acknowledging
from broker.lane.wire.channel import Channel
from broker.lane.wire.connection import Wire
from broker.lane.wire.fields import properties, read_properties, with_correlation_id
from broker.lane.wire.frames import Delivery, Returned, publish_frame
from broker.lane.wire.link import WireLink
from broker.lane.wire.publisher import WirePublisher
from broker.liveness import Busy, Liveness, is_probe
from broker.reconnecting import BrokerAwayError
from broker.shared import ensure_on_wire
from broker.telemetry import LANE_DROPPED, log

_RETURNS = topology.RETURNS.encode()
_REPLY, _REFUSAL = (properties({OUTCOME: outcome}) for outcome in (REPLIED, REFUSED))


class WireResponder:
    """Answers a service's requests with `answering`."""

    def __init__(
        self,
        service: str,
        topics: Iterable[str],
        answering: Answering,
        *,
        consuming: WireLink,
        publisher: WirePublisher,
        liveness: Liveness,
    ) -> None:
        self._service = service
        self._queue = topology.requests_queue(service)
        self._topics = tuple(topics)
        self._taking = Taking(service, answering, publisher)
        self._liveness = liveness
        self._draining = False
        self._consuming: list[_Consuming] = []
        consuming.on_connect(self._set_up_consuming)

    async def drain(self, *, within: float) -> None:
        """Take nothing new and finish what has begun, for at most `within` seconds."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.gather(*(consuming.drain() for consuming in self._consuming))

    async def _set_up_consuming(self, wire: Wire) -> None:
        await ensure_on_wire(wire)
        channel, alone = await wire.channel(), await wire.channel()
        await channel.call(*topology.requests(self._service, self._topics))
        if self._draining:
            return
        self._liveness.watch(self._queue)
        busy = self._liveness.busy(self._queue)
        self._consuming = [
            *(earlier for earlier in self._consuming if earlier.running),
            _Consuming(channel, self._queue, self._taking.take, busy, self._is_probe),
            _Consuming(alone, topology.suspects_queue(self._service), self._taking.take_suspect, busy, self._is_probe),
        ]
        await self._consuming[-2].begin(prefetch=PREFETCH)
        await self._consuming[-1].begin(prefetch=1)

    def _is_probe(self, delivery: Delivery) -> bool:
        self._liveness.prove(self._queue)
        return delivery.exchange == _RETURNS and is_probe(read_properties(delivery.properties).type)


class _Consuming:
    """One consumer on a channel of its own; its tag is the queue's name."""

    def __init__(
        self,
        channel: Channel,
        queue: str,
        take: Callable[[Delivered], Awaitable[None]],
        busy: Busy,
        is_probe: Callable[[Delivery], bool],
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._take = take
        self._busy = busy
        self._is_probe = is_probe
        self._acknowledging = Acknowledging(channel)
        self._draining = False
        self.running: dict[int, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        channel.on_content = self._arrived

    async def begin(self, *, prefetch: int) -> None:
        """Consume, unless it drains already."""
        await self._channel.call(commands.Basic.Qos(prefetch_count=prefetch))
        if not self._draining:
            await self._channel.call(commands.Basic.Consume(queue=self._queue, consumer_tag=self._queue))

    async def drain(self) -> None:
        """Take nothing new, finish what has begun, acknowledge it."""
        self._draining = True
        with contextlib.suppress(BrokerAwayError):
            await self._channel.call(commands.Basic.Cancel(consumer_tag=self._queue))
        if self.running:
            await asyncio.wait(self.running.values())
        self._acknowledging.flush()

    def _arrived(self, delivery: Delivery | Returned) -> None:
        if isinstance(delivery, Delivery):
            self.running[delivery.tag] = self._loop.create_task(self._settle(delivery))

    async def _settle(self, delivery: Delivery) -> None:
        try:
            if self._is_probe(delivery):
                self._acknowledging.finish(delivery.tag)
            else:
                with self._busy:
                    await self._take(self._delivered(delivery))
        except Exception as error:  # whatever a stranger wrote: what stays unacknowledged uses up the prefetch
            LANE_DROPPED.labels("malformed").inc()
            log.warning("a request was dropped", error=error)
            self._acknowledging.finish(delivery.tag)
        finally:
            del self.running[delivery.tag]

    def _delivered(self, delivery: Delivery) -> Delivered:
        read = read_properties(delivery.properties)
        acknowledge = partial(self._acknowledge, delivery)
        key = delivery.key.decode(errors="replace")
        return Delivered(key, delivery.body, read, delivery.redelivered, self._reply, acknowledge)

    async def _reply(self, queue: str, correlation_id: str | None, answer: Answer, within: float) -> None:
        """Send an answer. Raises BrokerAwayError."""
        channel = self._channel
        if not channel.wire.writable.is_set():
            await channel.wire.until_writable(within=within)
        if answer.news is not None:
            outline = properties({OUTCOME: REPLIED, NEWS: answer.news})
        else:
            outline = _REFUSAL if answer.refused else _REPLY
        raw = with_correlation_id(outline, correlation_id)
        channel.publish(publish_frame(channel.number, topology.REPLIES, queue, mandatory=False), raw, answer.body)

    async def _acknowledge(self, delivery: Delivery) -> None:
        self._acknowledging.finish(delivery.tag)
        if delivery.redelivered:  # whoever waits for this must find it on its way
            await asyncio.sleep(0)
            await asyncio.sleep(0)
