"""Proof that this process really consumes.

After a broker restart a client may be connected and yet have lost its consumers. So an idle queue gets a probe from each
instance now and then, sent home through `returns` like a retry. Consumers of one queue are served in turn, hence every
instance that really consumes gets its share of the probes, whoever sent them.

Promise: `ages()` tells, by queue, how long ago a delivery proved that this process consumes; `is_stuck` becomes true when
a queue gave no proof for `PATIENCE` seconds although it was probed. An instance that is stuck ends itself.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange

from broker import topology
from broker.connection import Link
from broker.ids import new_token

PROBE_EVERY = 2.0
PATIENCE = 8.0
_PROBE = "probe"


class Liveness:
    """The ages of the last proofs of consumption, and the probing of idle queues over a publishing link."""

    def __init__(self, publishing: Link) -> None:
        self._link = publishing
        self._last: dict[str, float] = {}
        self._busy: dict[str, int] = {}
        self._probing_since = time.monotonic()
        self._exchange: AbstractExchange | None = None
        self.stuck = asyncio.Event()
        publishing.on_connect(self._set_up)
        publishing.on_loss(self._lost)

    def watch(self, queue: str) -> None:
        """Expect deliveries from this queue from now on."""
        self._last[queue] = time.monotonic()

    def proven(self, queue: str, message: aio_pika.abc.AbstractIncomingMessage) -> bool:
        """Note a delivery; true if it was only a probe and needs no more than an acknowledgement."""
        self._last[queue] = time.monotonic()
        return message.type == _PROBE

    @contextlib.contextmanager
    def busy(self, queue: str) -> Iterator[None]:
        """While something from the queue is being worked on, silence is no sign of death."""
        self._busy[queue] = self._busy.get(queue, 0) + 1
        try:
            yield
        finally:
            self._busy[queue] -= 1
            self._last[queue] = time.monotonic()

    @property
    def load(self) -> int:
        """How many messages are being worked on now."""
        return sum(self._busy.values())

    async def idle(self, *queues: str, within: float) -> None:
        """Wait until nothing from these queues is being worked on, for at most `within` seconds."""
        until = time.monotonic() + within
        while any(self._busy.get(queue) for queue in queues) and time.monotonic() < until:
            await asyncio.sleep(0.01)

    def ages(self) -> dict[str, float]:
        """Seconds since the last proof, by queue."""
        now = time.monotonic()
        return {queue: 0.0 if self._busy.get(queue) else now - last for queue, last in self._last.items()}

    async def probe_forever(self) -> None:
        """Probe idle queues; sets `stuck` and ends when one stays silent."""
        while not self.stuck.is_set():
            await asyncio.sleep(PROBE_EVERY)
            if self._exchange is None:
                continue
            ages = self.ages()
            probed_for = time.monotonic() - self._probing_since
            if any(age > PATIENCE for age in ages.values()) and probed_for > PATIENCE:
                self.stuck.set()
            for queue in (queue for queue, age in ages.items() if age > PROBE_EVERY):
                await self._probe(queue)

    async def _probe(self, queue: str) -> None:
        message = aio_pika.Message(b"", type=_PROBE, message_id=new_token())
        with contextlib.suppress(aio_pika.exceptions.AMQPError, RuntimeError):
            assert self._exchange is not None
            await self._exchange.publish(message, topology.way_home(_PROBE, queue), mandatory=False)

    async def _set_up(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=False)
        self._exchange = await channel.get_exchange(topology.RETURNS, ensure=False)
        self._probing_since = time.monotonic()

    def _lost(self) -> None:
        self._exchange = None
