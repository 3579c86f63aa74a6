"""Our properties and tables against pamqp's, both ways; and what strangers write into theirs."""

import contextlib
import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands, decode, encode, header

from broker.lane.wire.fields import (
    MalformedPropertiesError,
    Properties,
    properties,
    read_properties,
    with_correlation_id,
    write_table,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = text.filter(lambda name: len(name.encode()) < 128)
scalars = (
    text
    | st.booleans()
    | st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, width=32)
    | st.binary(max_size=20).map(bytearray)
    | st.datetimes(datetime.datetime(1971, 1, 1), timezones=st.just(datetime.UTC)).map(
        lambda at: at.replace(microsecond=0)
    )
    | st.decimals(-1000, 1000, places=2)
)
tables = st.dictionaries(
    names,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
anything = st.recursive(
    scalars | st.integers() | st.floats() | st.text() | st.datetimes() | st.builds(object) | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
optional = st.none() | text
PAMQPS = {"type": "message_type"}
described = st.fixed_dictionaries(
    {name: optional for name in ("correlation_id", "reply_to", "expiration", "message_id", "type", "user_id")}
)


@settings(max_examples=50)
@given(tables, described, st.booleans())
def test_pamqp_reads_the_properties_that_we_write(
    table: dict[str, Any], described: dict[str, Any], persistent: bool
) -> None:
    read = commands.Basic.Properties()
    raw = properties(table, **described, persistent=persistent)
    flags = int.from_bytes(raw[:2], "big")
    read.unmarshal(flags, raw[2:])
    expected = {name: value for name, value in described.items() if value is not None}
    found = {name: getattr(read, PAMQPS.get(name, name)) for name in expected}
    assert found == expected
    assert (read.content_type, read.delivery_mode) == ("application/json", 2 if persistent else None)
    assert read.headers == decode.field_table(encode.field_table(table))[1]


@settings(max_examples=50)
@given(
    tables,
    described,
    st.fixed_dictionaries(
        {
            "content_type": optional,
            "content_encoding": optional,
            "delivery_mode": st.sampled_from([None, 1, 2]),
            "priority": st.none() | st.integers(0, 9),
            "timestamp": st.none() | st.just(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
            "app_id": optional,
        }
    ),
)
def test_we_read_the_properties_that_pamqp_writes(
    table: dict[str, Any], described: dict[str, Any], others: dict[str, Any]
) -> None:
    named = {PAMQPS.get(name, name): value for name, value in described.items()}
    written = header.ContentHeader(0, 0, commands.Basic.Properties(headers=table, **named, **others)).marshal()
    read = read_properties(written[12:])
    written_of: dict[str, Any] = {name: value or None for name, value in described.items()}  # nothing that is empty
    assert read == Properties(decode.field_table(encode.field_table(table))[1], **written_of)


@settings(max_examples=50)
@given(tables, st.none() | text)
def test_a_correlation_id_is_added_as_if_it_had_been_there_from_the_start(
    table: dict[str, Any], id: str | None
) -> None:
    assert with_correlation_id(properties(table), id) == properties(table, correlation_id=id)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), anything, max_size=3))
def test_what_amqp_has_no_words_for_is_a_value_error(table: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(properties(table), bytes)


@pytest.mark.parametrize("size", [256, 300, 70_000])
def test_short_strings_are_short(size: int) -> None:
    with pytest.raises(ValueError, match="range"):
        properties({}, correlation_id="x" * size)
    with pytest.raises(ValueError, match="can't be written"):
        properties({"x" * size: 1})


@settings(max_examples=50)
@given(st.binary(max_size=80))
def test_no_bytes_whatsoever_raise_anything_but_malformed(raw: bytes) -> None:
    with contextlib.suppress(MalformedPropertiesError):
        read_properties(raw)


@settings(max_examples=50)
@given(tables, described, st.data())
def test_properties_that_were_cut_or_bent_raise_nothing_but_malformed(
    table: dict[str, Any], described: dict[str, Any], data: st.DataObject
) -> None:
    raw = bytearray(properties(table, **described))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedPropertiesError):
        read_properties(bytes(raw[: data.draw(st.integers(at, len(raw)))]))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\x00\x01\x00\x00",
        b"\x00\x02",
        b"\x00\x00\x00",
        b"\x20\x00\x00\x00\x00\xff",
        b"\x20\x00\x00\x00\x00\x03\x01aZ",
        b"\x04\x00\x02\xff\xfe",
        b"\x04\x00\x20short",
        b"\x20\x00" + write_table({"a": "b"})[:-1],
        b"\x20\x00" + b"\x00\x00\x27\x10" + b"\x01aF\x00\x00\x27\x10" * 1000 + bytes(10_000),
    ],
    ids=[
        "nothing",
        "half flags",
        "more flags",
        "an unknown property",
        "more bytes",
        "no table",
        "an unknown kind",
        "no UTF-8",
        "cut",
        "cut table",
        "nested",
    ],
)
def test_unreadable_properties_are_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedPropertiesError):
        read_properties(raw)
