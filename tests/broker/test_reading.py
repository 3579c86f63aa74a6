"""From bytes and text to an operation, or to a refusal that says where it is wrong."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field

from broker.lane import Request, refuse
from broker.reading import read
from contracts.base import Input, Message, Operation, Refusal


class Part(Input):
    name: str
    tags: tuple[str, ...] = ()
    extra: Annotated[dict[str, str], Field(default_factory=dict)]


class Order(Operation[Message]):
    """Has a field of every kind."""

    topic: ClassVar[str] = "tests.order.v1"
    number: Annotated[int, Field(ge=0)] = 0
    urgent: bool = False
    id: UUID | None = None
    at: datetime | None = None
    note: str | None = None
    weight: float | None = None
    parts: tuple[Part, ...] = ()
    some: Annotated[tuple[Part, ...], Field(min_length=1)] | None = None
    labels: frozenset[str] = frozenset()


def reading(body: bytes = b"", **params: str) -> Operation[Any] | Refusal:
    return read(Order, Request("tests.order.v1", body, 0.0, params=params))


def wrong(body: bytes = b"", **params: str) -> tuple[str, list[str]]:
    """The slug of the refusal, and where it points."""
    refusal = reading(body, **params)
    assert isinstance(refusal, Refusal), refusal
    return refusal.slug, [error.pointer for error in refusal.errors]


@pytest.mark.parametrize("body", [b"", b"{}", b" { } "])
def test_nothing_said_is_an_empty_object(body: bytes) -> None:
    assert reading(body) == Order()


def test_json_is_read() -> None:
    body = b'{"number":2,"urgent":true,"id":"00000000-0000-0000-0000-000000000001","at":"2026-01-01T00:00:00Z"}'
    assert reading(body) == Order(number=2, urgent=True, id=UUID(int=1), at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"number":"2"}', "/number"),
        (b'{"number":2.0}', "/number"),
        (b'{"number":true}', "/number"),
        (b'{"urgent":"true"}', "/urgent"),
        (b'{"urgent":1}', "/urgent"),
        (b'{"note":5}', "/note"),
        (b'{"id":1}', "/id"),
        (b'{"parts":[{"name":"a"},{"name":null}]}', "/parts/1/name"),
        (b'{"parts":[{"name":"a","a/b~c":1}]}', "/parts/0/a~1b~0c"),
        (b'{"some":[{"name":null}]}', "/some/0/name"),
        (b'{"some":[]}', "/some"),
        (b'{"numbr":2}', "/numbr"),
        (b'{"number":-1}', "/number"),
    ],
)
def test_what_has_the_wrong_type_or_name_is_refused_where_it_is(body: bytes, pointer: str) -> None:
    assert wrong(body) == ("invalid-request", [pointer])


@pytest.mark.parametrize("body", [b"", b"{}", b'{"note":"beside"}'])
def test_text_is_converted(body: bytes) -> None:
    params = {
        "number": "2",
        "urgent": "true",
        "id": "00000000-0000-0000-0000-000000000001",
        "at": "2026-01-01T00:00:00Z",
        "weight": "1.5",
    }
    read_ = reading(body, **params)
    assert isinstance(read_, Order)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert (read_.number, read_.urgent, read_.id, read_.at, read_.weight) == (2, True, UUID(int=1), at, 1.5)


@pytest.mark.parametrize("body", [b"", b'{"note":"beside"}'])
@pytest.mark.parametrize(
    "params", [{"number": "two"}, {"urgent": "perhaps"}, {"id": "1"}, {"at": "noon"}, {"parts": "x"}, {"number": "-1"}]
)
def test_text_that_does_not_convert_is_refused_where_it_is(body: bytes, params: dict[str, str]) -> None:
    assert wrong(body, **params) == ("invalid-request", [f"/{next(iter(params))}"])


@pytest.mark.parametrize("body", [b"", b'{"note":"beside"}'])
def test_an_unknown_parameter_is_refused(body: bytes) -> None:
    assert wrong(body, numbr="2") == ("invalid-request", ["/numbr"])


def test_a_field_in_the_body_and_in_the_path_is_refused_even_if_equal() -> None:
    assert wrong(b'{"number":2,"note":"x"}', number="2") == ("invalid-request", ["/number"])


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"true"])
@pytest.mark.parametrize("params", [{}, {"number": "1"}])
def test_a_body_that_is_no_object_is_refused(body: bytes, params: dict[str, str]) -> None:
    assert wrong(body, **params) == ("invalid-request", [""])


NOT_JSON = {
    "words": b"hello",
    "cut off": b'{"number":',
    "a comma too many": b'{"number":1,}',
    "single quotes": b"{'number':1}",
    "100,000 lists deep": b"[" * 100_000,
    "100,000 objects deep": b'{"parts":' * 100_000,
    "a lone surrogate": b'{"note":"\\ud800"}',
    "invalid UTF-8": b'{"note":"\xff\xfe"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"number":1}'.encode("utf-16"),
    "a raw NUL": b'{"note":"\x00"}',
    "a number of 10,000 digits": b'{"number":' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("params", [{}, {"number": "1"}], ids=["alone", "merged"])
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_refused_as_that(body: bytes, params: dict[str, str]) -> None:
    assert wrong(body, **params) == ("malformed-json", [])


def test_a_number_that_is_none_is_refused_beside_text() -> None:
    assert wrong(b'{"weight":NaN}', number="1")[0] == "malformed-json"


def test_an_integer_of_400_digits_is_an_integer() -> None:
    assert reading(b'{"number":1' + b"0" * 400 + b"}") == Order(number=10**400)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"note":"a\\u0000b"}', "/note"),
        (b'{"parts":[{"name":"\\u0000"}]}', "/parts/0/name"),
        (b'{"parts":[{"name":"a","tags":["b","\\u0000"]}]}', "/parts/0/tags/1"),
        (b'{"parts":[{"name":"a","extra":{"\\u0000":"b"}}]}', "/parts/0/extra"),
        (b'{"parts":[{"name":"a","extra":{"b/c":"\\u0000"}}]}', "/parts/0/extra/b~1c"),
        (b'{"labels":["\\u0000"]}', "/labels/0"),
    ],
)
def test_a_nul_character_is_refused_where_it_is(body: bytes, pointer: str) -> None:
    assert wrong(body) == ("invalid-request", [pointer])


def test_a_nul_character_in_a_parameter_is_refused() -> None:
    assert wrong(note="a\0b") == ("invalid-request", ["/note"])


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert reading(b'{"note":"\\\\u0000"}') == Order(note="\\u0000")


@pytest.mark.parametrize("params", [{"note": "\ud800"}, {"\ud800": "x"}, {"number": "\udfff"}])
def test_half_a_character_in_a_parameter_is_refused(params: dict[str, str]) -> None:
    assert wrong(b"", **params)[0] == "invalid-request"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(Order.model_fields)) | st.text(), inner),
    max_leaves=8,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON that nearly fits, JSON that is cut, and anything else."""
    fields = draw(st.dictionaries(st.sampled_from([*Order.model_fields, "other"]), values, max_size=4))
    body = json.dumps(fields, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return draw(st.sampled_from([body, body[: len(body) // 2], draw(st.binary(max_size=40))]))


any_text = st.text(st.characters(categories=["L", "N", "P", "Cs", "Cc"]), max_size=10)
names = st.sampled_from([*Order.model_fields, "other"])


@given(bodies(), st.dictionaries(names | any_text, any_text, max_size=3))
@example(b"", {"\ud800": "\0"})
def test_reading_never_raises_and_whatever_it_refuses_can_be_sent(body: bytes, params: dict[str, str]) -> None:
    outcome = read(Order, Request("tests.order.v1", body, 0.0, params=params))
    if isinstance(outcome, Refusal):
        assert refuse(outcome).body
    else:
        assert outcome.model_dump_json().encode()
