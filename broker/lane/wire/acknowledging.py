"""Acknowledging what is finished, and nothing else.

Promise: a `multiple` acknowledgement reaches as far as everything before it is finished; what is finished behind a slow
one is acknowledged by itself, so that it does not use up the prefetch. What a turn of the loop finished is acknowledged
with its replies, and after them.
"""

from broker.lane.wire.channel import Channel
from broker.lane.wire.frames import ack_frame


class Acknowledging:
    """The acknowledgements of one channel, whose delivery tags count from 1 (AMQP 0-9-1, 1.8.3.13)."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._prefix = 0
        self._finished: set[int] = set()
        self._acknowledged: set[int] = set()
        """Beyond the prefix."""
        channel.wire.before_flush.append(self.flush)

    def finish(self, tag: int) -> None:
        """What was delivered with this tag is finished."""
        self._finished.add(tag)
        self._channel.wire.wake()

    def flush(self) -> None:
        """Acknowledge now."""
        if not self._finished:
            return
        covered, at = 0, self._prefix + 1
        while at in self._finished or at in self._acknowledged:
            if at in self._finished:
                covered = at  # an acknowledgement must name a tag that is not acknowledged yet
            self._finished.discard(at)
            self._acknowledged.discard(at)
            at += 1
        self._prefix = at - 1
        if self._channel.error is not None:
            return
        if covered:
            self._channel.wire.write(ack_frame(self._channel.number, covered, multiple=True))
        for tag in self._finished:
            self._channel.wire.write(ack_frame(self._channel.number, tag, multiple=False))
        self._acknowledged |= self._finished
        self._finished.clear()
