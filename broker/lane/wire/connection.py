"""One connection to the broker (AMQP 0-9-1), as a plain asyncio protocol.

Promise: all that arrived is read in one go, and what one turn of the loop writes leaves in one go; a connection on
which nothing arrives for two heartbeats is lost, and its channels end with it. Numbers in parentheses are sections of
the AMQP 0-9-1 specification.
"""

import asyncio
import contextlib
from collections.abc import Callable
from itertools import count
from typing import Any, cast

from pamqp import base, commands

from broker.lane.wire.address import Address
from broker.lane.wire.channel import Channel
from broker.lane.wire.frames import FRAME_MAX, HEARTBEAT_FRAME, OVERHEAD, Delivery, FramingError, Reader, Returned
from broker.reconnecting import BrokerAwayError, LoginRefusedError
from broker.telemetry import LANE_DROPPED, log

CONNECT_WITHIN = 5.0
_REFUSED = (403, 530)
"""ACCESS_REFUSED, NOT_ALLOWED (1.2, reply codes)."""
NOT_FOUND = 404
_LEAST_FRAME_MAX = 4096
"""What every peer must accept (1.2, frame-min-size)."""
_CAPABILITIES = (
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "publisher_confirms",
    "authentication_failure_close",
)
"""Extensions of RabbitMQ that are understood here."""


class ClosedByBrokerError(BrokerAwayError):
    """The broker closed the channel or the connection, and said why: a reply code (1.2) and a text."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Wire(asyncio.Protocol):
    """A connection. `lost` is called once, as soon as it is no good any more."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self.error: BrokerAwayError | None = None
        self.blocked = False
        """Whether the broker takes nothing now, because of an alarm (`connection.blocked`, an extension)."""
        self.writable = asyncio.Event()
        """Unset while the broker takes nothing, or less than we send."""
        self.writable.set()
        self._paused = False
        self.frame_max = FRAME_MAX
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(self._content, self._confirm, self._method)
        self._zero = Channel(self, 0)
        self._zero.expect("Connection.Start")
        self._channels = {0: self._zero}
        self._transport: asyncio.WriteTransport
        self._out: list[bytes] = []
        self._woken = False
        self.before_flush: list[Callable[[], None]] = []
        """Who has something to add to what a turn of the loop writes."""
        self._heard = self._said = self._loop.time()
        self._heartbeat: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(cls, amqp_url: str, *, name: str, lost: Callable[[], None]) -> "Wire":
        """Connect and log in. Raises LoginRefusedError, BrokerAwayError, and ValueError for what is no address."""
        address = Address.of(amqp_url)
        wire = None
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                _, wire = await asyncio.get_running_loop().create_connection(
                    lambda: cls(lost), address.host, address.port, ssl=address.ssl_context()
                )
                await wire._open(address, name)
                return wire
        except (OSError, TimeoutError) as error:
            raise BrokerAwayError(f"the broker can't be reached: {error!r}") from error
        finally:
            if wire is not None and not wire._heartbeat:
                wire.abort(BrokerAwayError("not connected"))

    async def channel(self) -> Channel:
        """A fresh channel. Raises BrokerAwayError."""
        if self.error is not None:
            raise self.error
        channel = Channel(self, next(number for number in count(1) if number not in self._channels))
        self._channels[channel.number] = channel
        await channel.call(commands.Channel.Open())
        return channel

    def forget(self, channel: Channel) -> None:
        """The channel is closed: its number is free."""
        del self._channels[channel.number]
        channel.end(BrokerAwayError("the channel was closed"))

    async def close(self) -> None:
        """Say goodbye (1.4.2.7), and hang up."""
        with contextlib.suppress(BrokerAwayError):
            await self._zero.call(commands.Connection.Close(200, "goodbye", 0, 0))
        self.abort(BrokerAwayError("the connection was closed"))

    def abort(self, error: BrokerAwayError) -> None:
        """Hang up."""
        if self.error is not None:
            return
        self.error = error
        self._reader.ended = True
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._transport.abort()
        self.writable.set()
        for channel in list(self._channels.values()):
            channel.end(error)
        self._lost()

    def write(self, data: bytes) -> None:
        """Send with whatever else this turn of the loop sends."""
        self._out.append(data)
        if not self._woken:
            self.wake()

    def wake(self) -> None:
        """Write at the end of this turn of the loop."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._flush)

    async def until_writable(self, *, within: float) -> None:
        """Wait until the broker takes what is sent. Raises BrokerAwayError."""
        try:
            async with asyncio.timeout(within):
                await self.writable.wait()
        except TimeoutError:
            raise BrokerAwayError("the broker takes nothing now") from None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.set_write_buffer_limits(high=1 << 20)
        self._transport.write(b"AMQP\0\0\x09\x01")

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            self._reader.feed(data)
        except FramingError as error:
            LANE_DROPPED.labels("frame-violation").inc()
            log.error("the broker broke the protocol", error=error, exc_info=error.__cause__)
            self.abort(BrokerAwayError(f"the broker broke the protocol: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.abort(BrokerAwayError(f"the connection to the broker was lost: {exc!r}"))

    def pause_writing(self) -> None:
        self._flow(paused=True)

    def resume_writing(self) -> None:
        self._flow(paused=False)

    async def _open(self, address: Address, name: str) -> None:
        start = await self._zero.answer()
        mechanism, response = address.login(cast(commands.Connection.Start, start).mechanisms or "")
        capabilities = dict.fromkeys(_CAPABILITIES, True)
        properties: dict[str, Any] = {"product": "Hedgerow", "connection_name": name, "capabilities": capabilities}
        self._zero.expect("Connection.Tune")
        self._zero.send(commands.Connection.StartOk(properties, mechanism, response, "en_US"))
        tune = cast(commands.Connection.Tune, await self._zero.answer())
        self.frame_max = max(min(tune.frame_max or FRAME_MAX, FRAME_MAX), _LEAST_FRAME_MAX)
        self._reader.payload_max = self.frame_max - OVERHEAD
        interval = min(tune.heartbeat or address.heartbeat, address.heartbeat)
        self._zero.send(commands.Connection.TuneOk(tune.channel_max or 0, self.frame_max, interval))
        await self._zero.call(commands.Connection.Open(address.vhost))
        self._beat(interval)

    def _beat(self, interval: float) -> None:
        """Say something at least every half interval, and expect to hear something every two (4.2.7)."""
        now = self._loop.time()
        if now - self._heard > 2 * interval:
            self.abort(BrokerAwayError(f"the broker was silent for {2 * interval:g} s"))
            return
        if now - self._said >= interval / 2:
            self.write(HEARTBEAT_FRAME)
        self._heartbeat = self._loop.call_later(interval / 2, self._beat, interval)

    def _flush(self) -> None:
        for add in self.before_flush:
            add()
        out, self._out, self._woken = self._out, [], False
        if self.error is None and out:
            self._said = self._loop.time()
            self._transport.write(b"".join(out))

    def _flow(self, *, paused: bool | None = None, blocked: bool | None = None) -> None:
        self._paused = self._paused if paused is None else paused
        self.blocked = self.blocked if blocked is None else blocked
        if self._paused or self.blocked:
            self.writable.clear()
        else:
            self.writable.set()

    def _content(self, channel: int, content: Delivery | Returned) -> None:
        self._channels[channel].on_content(content)

    def _confirm(self, channel: int, tag: int, multiple: bool) -> None:
        self._channels[channel].on_confirm(tag, multiple, True)

    def _method(self, channel: int, method: base.Frame) -> None:
        match method:
            case commands.Connection.Close():
                self._zero.send(commands.Connection.CloseOk())
                self._flush()
                self.abort(_closed(method))
            case commands.Connection.Blocked():
                self._flow(blocked=True)
            case commands.Connection.Unblocked():
                self._flow(blocked=False)
            case commands.Channel.Close():
                self._channels[channel].send(commands.Channel.CloseOk())
                self._channels.pop(channel).end(_closed(method))
            case commands.Basic.Cancel():
                self.abort(BrokerAwayError("the broker cancelled a consumer"))
            case commands.Basic.Nack():
                self._channels[channel].on_confirm(method.delivery_tag or 0, bool(method.multiple), False)
            case _:
                self._channels[channel].answered(method)


def _closed(close: commands.Connection.Close | commands.Channel.Close) -> BrokerAwayError:
    error = f"{close.reply_code} {close.reply_text}"
    return (
        LoginRefusedError(error) if close.reply_code in _REFUSED else ClosedByBrokerError(error, close.reply_code or 0)
    )
