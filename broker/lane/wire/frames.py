"""The frames of AMQP 0-9-1 that come by the thousand, written and read by hand.

Promise: publish, header, body and acknowledgement are written as the specification says, and `Reader` reads whatever
the broker sends, split anywhere. Every other method goes through pamqp. What breaks the framing raises FramingError and
ends the connection (4.2.3). Numbers in parentheses are sections of the AMQP 0-9-1 specification.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from pamqp import base, commands, frame
from pamqp.exceptions import PAMQPException

from broker.lane.wire.fields import short_string

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_MAX = 131_072
END = b"\xce"
OVERHEAD = 8
"""What a frame adds to its payload: 7 bytes before, 1 after."""
_BESIDE_PROPERTIES = OVERHEAD + 12
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
_END = END[0]
_BASIC = 60
_PUBLISH, _DELIVER, _ACK = (_BASIC << 16 | method for method in (40, 60, 80))

_FRAME = struct.Struct(">BHI")
_CONTENT = struct.Struct(">BHIHHQ")
_CONTENT_HEADER = struct.Struct(">HHQ")
_ACKNOWLEDGE = struct.Struct(">BHIIQ?B")
_ACK_SIZE, _LEAST_HEADER = 13, 14
_TAG_AND_BIT = struct.Struct(">QB")
_U32 = struct.Struct(">I")
_MALFORMED = (struct.error, LookupError, ValueError, TypeError, OverflowError, PAMQPException)


class FramingError(Exception):
    """The broker sent what is not AMQP."""


@dataclass(slots=True)
class Delivery:
    """A message that was delivered, its properties as they came. `missing` is -1 until its header has come."""

    tag: int
    redelivered: bool
    exchange: bytes
    key: bytes
    properties: bytes = b""
    body: bytes = b""
    missing: int = -1
    parts: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Returned:
    """A mandatory message that came back, because no queue is bound."""

    reason: str
    properties: bytes = b""
    body: bytes = b""
    missing: int = -1
    parts: list[bytes] = field(default_factory=list)


@lru_cache(maxsize=4096)
def publish_frame(channel: int, exchange: str, key: str, *, mandatory: bool) -> bytes:
    """A whole Basic.Publish frame; it is the same for every message to one address. Raises ValueError."""
    payload = (
        _U32.pack(_PUBLISH) + b"\0\0" + short_string(exchange) + short_string(key) + (b"\1" if mandatory else b"\0")
    )
    return _FRAME.pack(METHOD, channel, len(payload)) + payload + END


def message_frames(publish: bytes, channel: int, properties: bytes, body: bytes, *, frame_max: int) -> bytes:
    """The frames of one message (4.2.6) as one buffer; a large body is split. Raises ValueError for properties that
    don't fit into a frame: they can't be split."""
    size = len(body)
    if len(properties) > frame_max - _BESIDE_PROPERTIES:
        raise ValueError(f"properties of {len(properties)} bytes")
    header = _CONTENT.pack(HEADER, channel, 12 + len(properties), _BASIC, 0, size) + properties + END
    if not size:
        return publish + header
    if size <= frame_max - OVERHEAD:
        return b"".join((publish, header, _FRAME.pack(BODY, channel, size), body, END))
    parts = [publish, header]
    for at in range(0, size, frame_max - OVERHEAD):
        part = body[at : at + frame_max - OVERHEAD]
        parts += (_FRAME.pack(BODY, channel, len(part)), part, END)
    return b"".join(parts)


def ack_frame(channel: int, tag: int, *, multiple: bool) -> bytes:
    """A Basic.Ack frame."""
    return _ACKNOWLEDGE.pack(METHOD, channel, 13, _ACK, tag, multiple, _END)


class Reader:
    """Puts messages together again. It calls `on_content` for a message that was delivered or returned, `on_confirm`
    with tag and `multiple` for an acknowledgement, `on_method` for every other method."""

    def __init__(
        self,
        on_content: Callable[[int, Delivery | Returned], None],
        on_confirm: Callable[[int, int, bool], None],
        on_method: Callable[[int, base.Frame], None],
    ) -> None:
        self._on_content = on_content
        self._on_confirm = on_confirm
        self._on_method = on_method
        self._rest = b""
        self._begun: dict[int, Delivery | Returned] = {}
        self.payload_max = FRAME_MAX - OVERHEAD
        self.ended = False
        """Set when nothing that follows is of interest."""

    def feed(self, data: bytes) -> None:
        """Read what arrived. Raises FramingError."""
        data = self._rest + data if self._rest else data
        at, end, begun = 0, len(data), self._begun
        try:
            while end - at >= OVERHEAD and not self.ended:
                kind, channel, size = _FRAME.unpack_from(data, at)
                start = at + 7
                stop = start + size
                if size > self.payload_max:
                    raise FramingError(f"a frame of {size} bytes")
                if stop >= end:
                    break
                if data[stop] != _END:
                    raise FramingError("a frame does not end where it should")
                if kind == METHOD:
                    self._method(channel, data, start, stop)
                elif kind == HEADER:
                    content = begun[channel]
                    if content.missing >= 0 or size < _LEAST_HEADER:
                        raise FramingError("a header that does not belong there, or is too short")
                    _, _, content.missing = _CONTENT_HEADER.unpack_from(data, start)
                    content.properties = data[start + 12 : stop]
                    if not content.missing:
                        self._complete(channel, content)
                elif kind == BODY:
                    content = begun[channel]
                    if content.missing == size and not content.parts:
                        content.body = data[start:stop]
                        del begun[channel]
                        self._on_content(channel, content)
                    else:
                        self._part(channel, content, data[start:stop])
                elif kind != HEARTBEAT:
                    raise FramingError(f"a frame of the unknown type {kind}")
                at = stop + 1
        except _MALFORMED as error:
            raise FramingError(repr(error)) from error
        finally:
            self._rest = data[at:]

    def _part(self, channel: int, content: Delivery | Returned, part: bytes) -> None:
        content.parts.append(part)
        content.missing -= len(part)
        if content.missing < 0:
            raise FramingError("a body is longer than announced")
        if not content.missing:
            self._complete(channel, content)

    def _complete(self, channel: int, content: Delivery | Returned) -> None:
        content.body = b"".join(content.parts)
        del self._begun[channel]
        self._on_content(channel, content)

    def _method(self, channel: int, data: bytes, start: int, stop: int) -> None:
        if channel in self._begun:
            raise FramingError("a method in the middle of a message")
        (method,) = _U32.unpack_from(data, start)
        if method == _DELIVER:
            at = start + 5 + data[start + 4]  # the consumer tag: there is one consumer a channel
            tag, redelivered = _TAG_AND_BIT.unpack_from(data, at)
            middle = at + 10 + data[at + 9]
            exchange, key = data[at + 10 : middle], data[middle + 1 : stop]
            if len(key) != data[middle]:
                raise FramingError("a delivery does not end where it should")
            self._begun[channel] = Delivery(tag, redelivered & 1 == 1, exchange, key)
        elif method == _ACK:
            if stop - start != _ACK_SIZE:
                raise FramingError("an acknowledgement does not end where it should")
            tag, multiple = _TAG_AND_BIT.unpack_from(data, start + 4)
            self._on_confirm(channel, tag, multiple & 1 == 1)
        else:
            _, _, read = frame.unmarshal(data[start - 7 : stop + 1])
            if isinstance(read, commands.Basic.Return):
                self._begun[channel] = Returned(f"{read.reply_code} {read.reply_text}")
            elif isinstance(read, base.Frame):
                self._on_method(channel, read)
