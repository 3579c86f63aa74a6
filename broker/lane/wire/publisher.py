"""Publishing with publisher confirms (an extension of AMQP 0-9-1), any number under way at once.

Promise: `publish` returns only when the broker has taken the message; each outcome belongs to its own message: confirms
are matched by delivery tag, returned messages by a message id that no two attempts share.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from pamqp import commands

from broker.ids import new_token
from broker.lane.deadlines import Deadlines
from broker.lane.wire.channel import Channel
from broker.lane.wire.connection import Wire
from broker.lane.wire.fields import MalformedPropertiesError, properties, read_properties
from broker.lane.wire.frames import Delivery, Returned, publish_frame
from broker.lane.wire.link import WireLink
from broker.publisher import ChannelLostError, PublishRefusedError
from broker.reconnecting import BrokerAwayError, Reconnecting

MAX_UNDER_WAY = 20_000
"""A broker that takes messages and confirms none must not fill the memory."""


class WirePublisher:
    """Publishes over one link, on a channel of its own that is opened again when the broker closes it."""

    def __init__(self, link: WireLink) -> None:
        self.link: Reconnecting[Any] = link
        self._opening = asyncio.Lock()
        self._confirming: _Confirming | None = None
        self._deadlines = Deadlines(lambda: BrokerAwayError("no confirm came in time"))
        link.on_connect(self._open)

    async def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        headers: Mapping[str, Any],
        *,
        mandatory: bool,
        within: float = 10,
        persistent: bool = True,
        **named: str | None,
    ) -> None:
        """Publish and wait for the confirm; `named` are properties. Raises PublishRefusedError, or BrokerAwayError when
        the outcome is unknown."""
        message_id = new_token()
        try:
            raw = properties(headers, message_id=message_id, persistent=persistent, **named)
            confirming = await self._ready()
            if not confirming.channel.wire.writable.is_set():
                await confirming.channel.wire.until_writable(within=within)
            taken = confirming.publish(exchange, key, raw, body, mandatory=mandatory, message_id=message_id)
        except (TypeError, ValueError, OverflowError) as error:
            raise PublishRefusedError(f"{exchange} {key}: AMQP has no words for it: {error}") from error
        slot = self._deadlines.add(taken, within=within)
        try:
            refused = await taken
        finally:
            slot.discard(taken)
        if refused is not None:
            raise PublishRefusedError(f"{exchange} {key}: {refused}")

    async def _ready(self) -> "_Confirming":
        if self._confirming is not None and self._confirming.channel.error is None:
            return self._confirming
        async with self._opening:
            if self._confirming is not None and self._confirming.channel.error is not None:
                if self.link.connection is None or not self.link.is_up:
                    raise BrokerAwayError("the broker is away")
                await self._open(self.link.connection)
        if self._confirming is None:
            raise BrokerAwayError("the broker is away")
        return self._confirming

    async def _open(self, wire: Wire) -> None:
        channel = await wire.channel()
        await channel.call(commands.Confirm.Select())
        self._confirming = _Confirming(channel)


class _Confirming:
    """One channel in confirm mode. What is under way maps a delivery tag to a message id and to what will be known:
    None for a message that was taken, else why not."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._last = 0
        self._under_way: dict[int, tuple[str, asyncio.Future[str | None]]] = {}
        self._returned: dict[str, str] = {}
        channel.on_content, channel.on_confirm, channel.on_end = self._came_back, self._confirmed, self._ended

    def publish(
        self, exchange: str, key: str, raw: bytes, body: bytes, *, mandatory: bool, message_id: str
    ) -> asyncio.Future[str | None]:
        """Send. Raises BrokerAwayError, ValueError."""
        if len(self._under_way) >= MAX_UNDER_WAY:
            raise BrokerAwayError(f"{MAX_UNDER_WAY} messages wait for their confirms")
        self.channel.publish(publish_frame(self.channel.number, exchange, key, mandatory=mandatory), raw, body)
        self._last += 1
        taken: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._under_way[self._last] = (message_id, taken)
        return taken

    def _confirmed(self, tag: int, multiple: bool, taken: bool) -> None:
        first = next(iter(self._under_way), tag)
        for confirmed in range(first, min(tag, self._last) + 1) if multiple else (tag,):
            message_id, waiting = self._under_way.pop(confirmed, ("", None))
            why = self._returned.pop(message_id, None if taken else "the broker did not take it")
            if waiting is not None and not waiting.done():
                waiting.set_result(why)

    def _came_back(self, content: Delivery | Returned) -> None:
        if isinstance(content, Returned):
            with contextlib.suppress(MalformedPropertiesError):  # not one of ours
                self._returned[read_properties(content.properties).message_id or ""] = content.reason

    def _ended(self, error: BrokerAwayError) -> None:
        lost = self.channel.wire.error or ChannelLostError(str(error))
        for _, waiting in self._under_way.values():
            if not waiting.done():
                waiting.set_exception(type(lost)(str(lost)))  # one each: an exception collects whoever raises it
        self._under_way.clear()
