"""Proof that this process really consumes.

After a broker restart a client may be connected and yet have lost its consumers. So an idle queue gets a probe from
each instance now and then, sent home through `returns` like a retry. Consumers of one queue are served in turn, hence
every instance that really consumes gets its share of the probes, whoever sent them.

Promise: `ages()` tells, by queue, how long ago a delivery proved that this process consumes; `stuck` is set when
`PATIENCE` rounds of probes in a row, each confirmed by the broker, brought no proof: eight to ten seconds after the
last one. A broker that is away, or takes nothing because of an alarm, is no reason. An instance that is stuck ends
itself.
"""

import asyncio
import contextlib
import time

from broker import topology
from broker.publisher import Publisher, PublishRefusedError
from broker.reconnecting import BrokerAwayError

PROBE_EVERY = 2.0
PATIENCE = 3
_PROBE = "probe"


class Liveness:
    """The ages of the last proofs of consumption, and the probing of idle queues."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._last: dict[str, float] = {}
        self._busy: dict[str, int] = {}
        self._unanswered: dict[str, int] = {}
        self._finished = asyncio.Event()
        self.stuck = asyncio.Event()
        publisher.link.on_connect(self._begin_again)

    def watch(self, queue: str) -> None:
        """Expect deliveries from this queue from now on."""
        self.prove(queue)

    def prove(self, queue: str) -> None:
        """Note a delivery."""
        self._last[queue] = time.monotonic()
        self._unanswered[queue] = 0

    def busy(self, queue: str) -> "Busy":
        """While something from the queue is being worked on, silence is no sign of death."""
        return Busy(self, queue)

    def begin(self, queue: str) -> None:
        """Something from the queue is being worked on."""
        self._busy[queue] = self._busy.get(queue, 0) + 1

    def finish(self, queue: str) -> None:
        """One less."""
        self._busy[queue] -= 1
        self._finished.set()
        self.prove(queue)

    @property
    def load(self) -> int:
        """How many messages are being worked on now."""
        return sum(self._busy.values())

    def in_progress(self) -> dict[str, float]:
        """The same, by queue."""
        return {queue: float(busy) for queue, busy in self._busy.items()}

    async def idle(self, *queues: str, within: float) -> None:
        """Wait until nothing from these queues is being worked on, for at most `within` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while any(self._busy.get(queue) for queue in queues):
                    self._finished.clear()
                    await self._finished.wait()

    def ages(self) -> dict[str, float]:
        """Seconds since the last proof, by queue."""
        now = time.monotonic()
        return {queue: 0.0 if self._busy.get(queue) else now - last for queue, last in self._last.items()}

    async def probe_forever(self) -> None:
        """Probe idle queues; sets `stuck` and ends when one stays silent."""
        while not self.stuck.is_set():
            await asyncio.sleep(PROBE_EVERY)
            idle = [queue for queue, age in self.ages().items() if age > PROBE_EVERY]
            if any(self._unanswered[queue] >= PATIENCE for queue in idle):
                self.stuck.set()
            elif self._publisher.link.is_up:
                await asyncio.gather(*(self._probe(queue) for queue in idle))

    async def _probe(self, queue: str) -> None:
        """A round of probes, each round larger, because some go to instances that share the queue and have died."""
        since = self._last[queue]
        try:
            await asyncio.gather(*(self._send_probe(queue) for _ in range(2 ** self._unanswered[queue])))
        except (BrokerAwayError, PublishRefusedError):
            return
        if self._last[queue] == since:
            self._unanswered[queue] += 1

    async def _send_probe(self, queue: str) -> None:
        key = topology.way_home(_PROBE, queue)
        await self._publisher.publish(
            topology.RETURNS, key, b"", {}, mandatory=False, within=PROBE_EVERY, persistent=False, type=_PROBE
        )

    async def _begin_again(self, _: object) -> None:
        self._unanswered = dict.fromkeys(self._unanswered, 0)


class Busy:
    """A queue while something of it is being worked on; may be entered any number of times at once."""

    def __init__(self, liveness: Liveness, queue: str) -> None:
        self._liveness = liveness
        self._queue = queue

    def __enter__(self) -> None:
        self._liveness.begin(self._queue)

    def __exit__(self, *_: object) -> None:
        self._liveness.finish(self._queue)


def is_probe(kind: str | None) -> bool:
    """Whether a message of this type that came through `returns` is a probe, and needs no more than an
    acknowledgement."""
    return kind == _PROBE
