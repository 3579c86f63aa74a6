"""A request as headers, and back."""

import contextlib
import string
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.lane import Request
from broker.lane.headers import MalformedRequestError, headers_of, request_from
from contracts.base import Caller

DEADLINE = {"deadline": 1_800_000_000_000}

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
roles = st.frozensets(st.text(string.ascii_lowercase, min_size=1), max_size=3)
callers = st.builds(Caller, id=st.uuids(), session=st.none() | st.uuids(), roles=roles)
requests = st.builds(
    Request,
    topic=st.just("echo.say.v1"),
    body=st.binary(max_size=20),
    deadline=st.integers(0, 2**40).map(float),
    request_id=text.filter(bool),
    caller=st.just(Caller()) | callers,
    idempotency_key=st.none() | text,
    params=st.dictionaries(text, text, max_size=3),
    traceparent=st.none() | text,
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
NAMES = ("deadline", "request-id", "caller-id", "caller-session", "caller-roles", "idempotency-key", "params")


@given(requests)
def test_what_is_sent_is_what_arrives(request: Request) -> None:
    assert request_from(request.topic, request.body, headers_of(request), default_id="x") == request


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), values))
def test_no_header_whatsoever_raises_anything_but_malformed(headers: dict[str, Any]) -> None:
    with contextlib.suppress(MalformedRequestError):
        request_from("echo.say.v1", b"", headers, default_id="x")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"deadline": None},
        {"deadline": "soon"},
        {"deadline": "nan"},
        {"deadline": "inf"},
        {"deadline": -1},
        {"deadline": 2**62},
        {**DEADLINE, "caller-id": "root"},
        {**DEADLINE, "caller-id": str(UUID(int=1)), "caller-session": "none"},
        {**DEADLINE, "params": "{"},
        {**DEADLINE, "params": "[1]"},
        {**DEADLINE, "params": 5},
        {**DEADLINE, "params": "[" * 100_000},
    ],
    ids=lambda headers: str(headers)[:60],
)
def test_what_is_no_request_is_malformed(headers: dict[str, Any]) -> None:
    with pytest.raises(MalformedRequestError):
        request_from("echo.say.v1", b"", headers, default_id="x")


def test_a_request_without_an_id_gets_the_messages() -> None:
    assert request_from("echo.say.v1", b"", DEADLINE, default_id="x").request_id == "x"


def test_roles_without_a_caller_are_nobodys() -> None:
    assert request_from("echo.say.v1", b"", {**DEADLINE, "caller-roles": "staff"}, default_id="x").caller == Caller()
