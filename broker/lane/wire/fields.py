"""Content properties and field tables (AMQP 0-9-1, 4.2.6.1 and 4.2.5.5), written and read by hand.

Promise: pamqp reads what is written here, and what it writes is read here alike. Properties are read by who takes the
message and not with its frames: a stranger may have written them, and what can't be read must cost no more than itself.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pamqp import decode, encode
from pamqp.exceptions import PAMQPException

_JSON = b"\x10application/json"
_U32, _I64 = struct.Struct(">I"), struct.Struct(">q")
_MALFORMED = (struct.error, LookupError, ValueError, TypeError, OverflowError, RecursionError, PAMQPException)


class MalformedPropertiesError(ValueError):
    """Somebody published properties that can't be read."""


@dataclass(slots=True)
class Properties:
    """The properties that mean something to the platform."""

    headers: dict[str, Any]
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    type: str | None = None
    user_id: str | None = None


def properties(
    headers: Mapping[str, Any],
    *,
    correlation_id: str | None = None,
    reply_to: str | None = None,
    expiration: str | None = None,
    message_id: str | None = None,
    type: str | None = None,
    user_id: str | None = None,
    persistent: bool = False,
) -> bytes:
    """Flags and values of a content header (4.2.6.1) for a body of JSON, in the order of the flags. Raises ValueError
    for what AMQP has no words for."""
    try:
        flags, values = 0xA000, [b"", _JSON, write_table(headers)]
    except _MALFORMED as error:
        raise ValueError(f"headers that can't be written: {error!r}") from error
    if persistent:
        flags |= 0x1000
        values.append(b"\2")
    if correlation_id is not None:
        flags |= 0x0400
        values.append(short_string(correlation_id))
    if reply_to is not None:
        flags |= 0x0200
        values.append(short_string(reply_to))
    if expiration is not None:
        flags |= 0x0100
        values.append(short_string(expiration))
    if message_id is not None:
        flags |= 0x0080
        values.append(short_string(message_id))
    if type is not None:
        flags |= 0x0020
        values.append(short_string(type))
    if user_id is not None:
        flags |= 0x0010
        values.append(short_string(user_id))
    values[0] = flags.to_bytes(2, "big")
    return b"".join(values)


def with_correlation_id(raw: bytes, correlation_id: str | None) -> bytes:
    """Properties that have only a content type and headers, with a correlation id."""
    if correlation_id is None:
        return raw
    return bytes((raw[0] | 0x04,)) + raw[1:] + short_string(correlation_id)


def read_properties(raw: bytes) -> Properties:
    """The properties of a message. Raises MalformedPropertiesError."""
    try:
        return _read_properties(raw)
    except _MALFORMED as error:
        raise MalformedPropertiesError(f"unreadable properties: {error!r}") from error


def _read_properties(raw: bytes) -> Properties:
    flags, at = raw[0] << 8 | raw[1], 2
    if flags & 0x0003:  # there are no more properties in AMQP 0-9-1
        raise ValueError("unknown properties")
    read = Properties({})
    if flags & 0x8000:  # content type
        at += 1 + raw[at]
    if flags & 0x4000:  # content encoding
        at += 1 + raw[at]
    if flags & 0x2000:
        (size,) = _U32.unpack_from(raw, at)
        end = at + 4 + size
        read.headers, at = read_table(raw, at + 4, end), end
    at += (flags >> 12 & 1) + (flags >> 11 & 1)  # delivery mode, priority
    if flags & 0x0400:
        end = at + 1 + raw[at]
        read.correlation_id, at = raw[at + 1 : end].decode(), end
    if flags & 0x0200:
        end = at + 1 + raw[at]
        read.reply_to, at = raw[at + 1 : end].decode(), end
    if flags & 0x0100:
        end = at + 1 + raw[at]
        read.expiration, at = raw[at + 1 : end].decode(), end
    if flags & 0x0080:
        end = at + 1 + raw[at]
        read.message_id, at = raw[at + 1 : end].decode(), end
    at += flags >> 3 & 8  # timestamp
    if flags & 0x0020:
        end = at + 1 + raw[at]
        read.type, at = raw[at + 1 : end].decode(), end
    if flags & 0x0010:
        end = at + 1 + raw[at]
        read.user_id, at = raw[at + 1 : end].decode(), end
    if flags & 0x0008:  # app id
        at += 1 + raw[at]
    if flags & 0x0004:  # cluster id
        at += 1 + raw[at]
    if at != len(raw):
        raise ValueError("the properties do not end where their header ends")
    return read


def write_table(table: Mapping[str, Any]) -> bytes:
    """A field table (4.2.5.5). Raises ValueError and its like for what AMQP has no words for."""
    parts: list[bytes] = []
    for name, value in table.items():
        kind = type(value)
        if kind is str:
            text = value.encode()
            parts += (_name(name), b"S", _U32.pack(len(text)), text)
        elif kind is int and -(2**63) <= value < 2**63:
            parts += (_name(name), b"l", _I64.pack(value))
        else:
            parts += (_name(name), encode.encode_table_value(value))
    fields = b"".join(parts)
    return _U32.pack(len(fields)) + fields


def read_table(raw: bytes, at: int, end: int) -> dict[str, Any]:
    """The field table between two offsets. Raises ValueError and its like."""
    table: dict[str, Any] = {}
    began = at
    if end > len(raw):
        raise ValueError("the table ends behind its message")
    while at < end:
        start = at + 1
        at = start + raw[at]
        name, kind = raw[start:at].decode(), raw[at]
        if kind == 0x53:  # S, a long string
            (size,) = _U32.unpack_from(raw, at + 1)
            at += 5 + size
            table[name] = raw[at - size : at].decode()
        elif kind == 0x6C:  # l, a 64-bit integer
            (table[name],) = _I64.unpack_from(raw, at + 1)
            at += 9
        else:
            return dict(decode.field_table(_U32.pack(end - began) + raw[began:end])[1])
    if at != end:
        raise ValueError("the table does not end where it should")
    return table


def short_string(text: str) -> bytes:
    """A short string (4.2.5.3). Raises ValueError for one that is too long."""
    raw = text.encode()
    return bytes((len(raw),)) + raw


_name = lru_cache(maxsize=1024)(short_string)
"""Names of headers are few."""
