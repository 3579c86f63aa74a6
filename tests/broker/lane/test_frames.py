"""Our frames against pamqp's, both ways, however the stream is split; and what is no AMQP at all."""

import contextlib
import struct
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, frame, header, heartbeat
from pamqp.base import Frame

from broker.lane.wire.fields import properties, read_properties
from broker.lane.wire.frames import (
    FRAME_MAX,
    OVERHEAD,
    Delivery,
    FramingError,
    Reader,
    Returned,
    ack_frame,
    message_frames,
    publish_frame,
)

CHANNEL = 7
SMALLEST = 4096
PAYLOAD = SMALLEST - OVERHEAD

exchanges = st.text("abcxyz-.0189", max_size=20)
short = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
tags = st.integers(1, 2**63 - 1)
bodies = st.binary(max_size=40) | st.integers(0, 3 * PAYLOAD).map(bytes)
ids = st.text("0123456789abcdef", min_size=32, max_size=32)


@dataclass
class Heard:
    """What a reader was made to say."""

    said: list[object]
    reader: Reader


def hearing() -> Heard:
    """A reader whose calls are written down."""
    said: list[object] = []

    def content(channel: int, content: Delivery | Returned) -> None:
        read = read_properties(content.properties).correlation_id
        if isinstance(content, Delivery):
            where = (content.exchange.decode(), content.key.decode())
            said.append((channel, content.tag, content.redelivered, *where, read, content.body))
        else:
            said.append((channel, content.reason, read, content.body))

    def confirm(channel: int, tag: int, multiple: bool) -> None:
        said.append((channel, tag, multiple))

    def method(channel: int, method: Frame) -> None:
        said.append((channel, method.name, dict(method)))

    return Heard(said, Reader(content, confirm, method))


@dataclass
class Script:
    """Bytes that pamqp wrote, and what they say."""

    written: bytes
    means: object


def _content(method: Frame, correlation_id: str, content: bytes) -> bytes:
    said = frame.marshal(method, CHANNEL)
    described = commands.Basic.Properties(correlation_id=correlation_id)
    said += frame.marshal(header.ContentHeader(0, len(content), described), CHANNEL)
    for at in range(0, len(content), PAYLOAD):
        said += frame.marshal(body.ContentBody(content[at : at + PAYLOAD]), CHANNEL)
    return said


@st.composite
def deliveries(draw: st.DrawFn) -> Script:
    """A message delivered."""
    tag, redelivered, exchange, key = draw(tags), draw(st.booleans()), draw(exchanges), draw(short)
    consumer, correlation_id, content = draw(short), draw(ids), draw(bodies)
    method = commands.Basic.Deliver(consumer, tag, redelivered, exchange, key)
    means = (CHANNEL, tag, redelivered, exchange, key, correlation_id, content)
    return Script(_content(method, correlation_id, content), means)


@st.composite
def returns(draw: st.DrawFn) -> Script:
    """A message that came back."""
    correlation_id, content = draw(ids), draw(bodies)
    method = commands.Basic.Return(312, "NO_ROUTE", draw(exchanges), draw(short))
    return Script(_content(method, correlation_id, content), (CHANNEL, "312 NO_ROUTE", correlation_id, content))


def _method(method: Frame) -> Script:
    return Script(frame.marshal(method, CHANNEL), (CHANNEL, method.name, dict(method)))


confirms = st.builds(
    lambda tag, multiple: Script(frame.marshal(commands.Basic.Ack(tag, multiple), CHANNEL), (CHANNEL, tag, multiple)),
    tags,
    st.booleans(),
)
methods = st.builds(_method, st.builds(commands.Basic.Nack, tags, st.booleans(), st.booleans())) | st.builds(
    _method, st.builds(commands.Queue.DeclareOk, exchanges, st.integers(0, 2**32 - 1), st.integers(0, 9))
)
beats = st.just(Script(frame.marshal(heartbeat.Heartbeat(), 0), None))
scripts = st.lists(deliveries() | returns() | confirms | methods | beats, max_size=5)


@given(scripts, st.data())
def test_what_pamqp_writes_is_read_however_it_is_split(scripts: list[Script], data: st.DataObject) -> None:
    stream, heard = b"".join(script.written for script in scripts), hearing()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        heard.reader.feed(stream[start:stop])
    assert heard.said == [script.means for script in scripts if script.means is not None]


def test_a_stream_that_comes_byte_by_byte_is_read_like_any_other() -> None:
    heard = hearing()
    stream = _content(commands.Basic.Deliver("c", 1, False, "requests", "a.b"), "x" * 32, b"body")
    for byte in stream + ack_frame(CHANNEL, 9, multiple=True):
        heard.reader.feed(bytes([byte]))
    assert heard.said == [(CHANNEL, 1, False, "requests", "a.b", "x" * 32, b"body"), (CHANNEL, 9, True)]


@given(exchanges, short, st.booleans(), bodies, ids)
def test_pamqp_reads_a_message_as_we_wrote_it(
    exchange: str, key: str, mandatory: bool, content: bytes, correlation_id: str
) -> None:
    publish = publish_frame(CHANNEL, exchange, key, mandatory=mandatory)
    raw = properties({"a": 1}, correlation_id=correlation_id)
    stream = message_frames(publish, CHANNEL, raw, content, frame_max=SMALLEST)
    frames: list[Any] = []
    while stream:
        size, channel, read = frame.unmarshal(stream)
        assert (channel, size <= SMALLEST) == (CHANNEL, True)
        frames.append(read)
        stream = stream[size:]
    method, head, *parts = frames
    assert dict(method) == dict(commands.Basic.Publish(0, exchange, key, mandatory, False))
    assert isinstance(head, header.ContentHeader)
    assert (head.body_size, head.properties.correlation_id) == (len(content), correlation_id)
    assert b"".join(part.value for part in parts if isinstance(part, body.ContentBody)) == content


@given(st.integers(1, 65_535), st.integers(0, 2**63 - 1), st.booleans())
def test_our_acknowledgements_are_pamqps(channel: int, tag: int, multiple: bool) -> None:
    assert ack_frame(channel, tag, multiple=multiple) == frame.marshal(commands.Basic.Ack(tag, multiple), channel)


@pytest.mark.parametrize("size", [0, 1, PAYLOAD - 1, PAYLOAD, PAYLOAD + 1, 2 * PAYLOAD, 2 * PAYLOAD + 1])
def test_a_body_is_split_at_the_largest_frame(size: int) -> None:
    raw = message_frames(b"", CHANNEL, properties({}), bytes(size), frame_max=SMALLEST)
    parts = -(-size // PAYLOAD)
    assert len(raw) == len(message_frames(b"", CHANNEL, properties({}), b"", frame_max=SMALLEST)) + size + 8 * parts


def test_properties_that_fit_into_no_frame_are_refused() -> None:
    raw = properties({"a": "x" * SMALLEST})
    with pytest.raises(ValueError, match="bytes"):
        message_frames(b"", CHANNEL, raw, b"", frame_max=SMALLEST)


def _frame(kind: int, payload: bytes, end: bytes = b"\xce") -> bytes:
    return struct.pack(">BHI", kind, CHANNEL, len(payload)) + payload + end


DELIVER = frame.marshal(commands.Basic.Deliver("c", 1, False, "e", "k"), CHANNEL)
HEAD = frame.marshal(header.ContentHeader(0, 4, commands.Basic.Properties()), CHANNEL)
VIOLATIONS = {
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n",
    "another version": b"AMQP\x00\x01\x00\x00",
    "an unknown type": _frame(4, b"payload"),
    "no end": _frame(8, b"", b"\x00"),
    "too large": struct.pack(">BHI", 3, CHANNEL, FRAME_MAX) + b"x",
    "no such method": _frame(1, b"\x00\x3c\x00\xff"),
    "an empty method": _frame(1, b""),
    "a delivery cut short": _frame(1, DELIVER[7:-3]),
    "a delivery that goes on": _frame(1, DELIVER[7:-1] + b"more"),
    "an acknowledgement cut short": _frame(1, b"\x00\x3c\x00\x50\x00"),
    "a header without a message": HEAD,
    "a header twice": DELIVER + HEAD + HEAD,
    "a header cut short": DELIVER + _frame(2, HEAD[7:-9]),
    "a body without a message": _frame(3, b"body"),
    "a body before its header": DELIVER + _frame(3, b"body"),
    "an empty body before its header": DELIVER + _frame(3, b""),
    "a body longer than announced": DELIVER + HEAD + _frame(3, b"too long"),
    "parts longer than announced": DELIVER + HEAD + _frame(3, b"too") + _frame(3, b" long"),
    "a method in the middle of a message": DELIVER + HEAD + DELIVER,
}


@pytest.mark.parametrize("stream", VIOLATIONS.values(), ids=list(VIOLATIONS))
def test_what_breaks_the_protocol_is_a_framing_error(stream: bytes) -> None:
    heard = hearing()
    with pytest.raises(FramingError):
        heard.reader.feed(stream)
    assert heard.said == []


kinds = st.integers(1, 3) | st.integers(0, 255)
payloads = st.binary(max_size=40) | st.sampled_from([DELIVER[7:-1], HEAD[7:-1], b"body"])


@given(st.lists(st.binary(max_size=30) | st.builds(_frame, kinds, payloads), max_size=4).map(b"".join))
def test_no_bytes_whatsoever_raise_anything_but_a_framing_error(stream: bytes) -> None:
    with contextlib.suppress(FramingError):
        hearing().reader.feed(stream)
