"""A durable message as it came: read, or called malformed, never anything else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.message import Incoming, MalformedMessageError, incoming

HEADERS: dict[str, Any] = {
    "cloudEvents_id": "1",
    "cloudEvents_type": "tests.opened.v1",
    "cloudEvents_source": "/tests",
    "cloudEvents_subject": "a",
}
DEEP = "[" * 100_000


def _read(**headers: Any) -> Incoming:
    return incoming("queue", HEADERS | headers, b"")


def test_a_message_without_a_sequence_needs_no_order() -> None:
    assert _read(predecessors=json.dumps({"a": [3, 1]})).sequence is None


def test_headers_of_the_broker_are_not_passed_on_and_those_of_strangers_are() -> None:
    assert _read(**{"x-death": [], "colour": "green"}).headers == HEADERS | {"colour": "green"}


def test_what_follows_belongs_to_the_flow_of_the_message() -> None:
    origin = _read(**{"correlation-id": "flow", "traceparent": "00-1-2-01"}).origin
    assert (origin.correlation_id, origin.causation_id, origin.traceparent) == ("flow", "1", "00-1-2-01")


@pytest.mark.parametrize("missing", ["cloudEvents_id", "cloudEvents_type", "cloudEvents_source"])
def test_a_message_without_an_identity_is_malformed(missing: str) -> None:
    with pytest.raises(MalformedMessageError):
        incoming("queue", {name: value for name, value in HEADERS.items() if name != missing}, b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"sequence": 0},
        {"sequence": "many"},
        {"sequence": 2**63},
        {"sequence": 1, "predecessors": json.dumps({"a": [1, 0]})},
        {"sequence": 1, "predecessors": "[]"},
        {"sequence": 1, "predecessors": DEEP},
        {"sequence": 2, "predecessors": '{"a": [Infinity, 0]}'},
        {"attempt": "first"},
        {"cloudEvents_subject": "a\0b"},
        {"cloudEvents_id": "x" * 513},
        {"cloudEvents_time": "yesterday"},
    ],
    ids=lambda headers: str(headers)[:50],
)
def test_nonsense_is_malformed(headers: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessageError):
        _read(**headers)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers())
NAMES = st.sampled_from([*HEADERS, "sequence", "predecessors", "attempt", "cloudEvents_time", "traceparent"])


@given(headers=st.dictionaries(NAMES | st.text(), VALUES))
def test_whatever_the_headers_are_the_message_is_read_or_malformed(headers: dict[str, Any]) -> None:
    try:
        message = _read(**headers)
    except MalformedMessageError:
        return
    assert message.attempt >= 1
    assert message.origin.causation_id == message.id
