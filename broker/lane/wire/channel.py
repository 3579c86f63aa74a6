"""One channel of a connection (AMQP 0-9-1, 1.5).

Promise: nothing is written on a channel that the broker has closed; calls wait for each other; what waits for an answer
fails at once when the channel or the connection ends.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from pamqp import base, commands, frame

from broker.lane.wire.frames import Delivery, FramingError, Returned, message_frames
from broker.reconnecting import BrokerAwayError

if TYPE_CHECKING:  # a connection makes its channels
    from broker.lane.wire.connection import Wire

ANSWER_WITHIN = 10.0
"""How long the broker may take to answer a method, in seconds."""


class Channel:
    """A channel. Whoever opened it sets what is called for a message, for a confirm (tag, multiple, whether it was
    taken) and for its end; a channel that ends takes the connection along, unless its `on_end` says otherwise."""

    def __init__(self, wire: "Wire", number: int) -> None:
        self.wire = wire
        self.number = number
        self.error: BrokerAwayError | None = None
        self.on_content: Callable[[Delivery | Returned], None] = lambda content: None
        self.on_confirm: Callable[[int, bool, bool], None] = lambda tag, multiple, taken: None
        self.on_end: Callable[[BrokerAwayError], None] = wire.abort
        self._turn = asyncio.Lock()
        self._expected: Sequence[str] = ()
        self._waiting: asyncio.Future[base.Frame] | None = None

    async def call(self, *methods: base.Frame) -> base.Frame:
        """Send synchronous methods, each after the answer to the one before; the last answer. Raises
        BrokerAwayError."""
        async with self._turn:
            for method in methods:
                self.send(method)
                self.expect(*method.valid_responses)
                answer = await self.answer()
            return answer

    async def close(self) -> None:
        """Give the channel up (1.5.2.5). Raises BrokerAwayError."""
        await self.call(commands.Channel.Close(200, "done", 0, 0))
        self.on_end = lambda error: None
        self.wire.forget(self)

    def expect(self, *names: str) -> None:
        """The next method that answers must be one of these."""
        self._expected, self._waiting = names, asyncio.get_running_loop().create_future()

    async def answer(self) -> base.Frame:
        """What was expected. Raises BrokerAwayError. Who gives up waiting gives up the connection: the answer would be
        taken for another's."""
        waiting = cast("asyncio.Future[base.Frame]", self._waiting)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await waiting
        except (TimeoutError, asyncio.CancelledError) as error:
            self.wire.abort(BrokerAwayError("the broker did not answer in time"))
            if isinstance(error, TimeoutError):
                raise BrokerAwayError("the broker did not answer in time") from None
            raise
        finally:
            self._waiting = None

    def answered(self, method: base.Frame) -> None:
        """Take the answer to what was called. Raises FramingError for what answers nothing."""
        if self._waiting is None or self._waiting.done() or method.name not in self._expected:
            raise FramingError(f"nobody waits for {method.name}")
        self._waiting.set_result(method)

    def send(self, method: base.Frame) -> None:
        """Send a method that is not answered. Raises BrokerAwayError."""
        if self.error is not None:
            raise self.error
        self.wire.write(frame.marshal(method, self.number))

    def publish(self, publish: bytes, properties: bytes, body: bytes) -> None:
        """Send a message. Raises BrokerAwayError."""
        if self.error is not None:
            raise self.error
        self.wire.write(message_frames(publish, self.number, properties, body, frame_max=self.wire.frame_max))

    def end(self, error: BrokerAwayError) -> None:
        """Fail whatever waits on this channel."""
        if self.error is not None:
            return
        self.error = error
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
            self._waiting.exception()  # seen, also where nobody waits yet
        self.on_end(error)
