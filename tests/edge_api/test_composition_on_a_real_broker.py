"""A composition over services that come, go and dawdle."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from broker.composing import part
from broker.running import running as serving
from broker.service import Http, Service
from contracts.base import Caller, Page, Query
from edge_api import gateway
from tests.edge_api.test_on_a_real_broker import Greet, client_of, plug
from tests.support.eventually import eventually

pytestmark = pytest.mark.servers


class CountGuests(Query[Page[int]]):
    """How many are there."""

    topic = "guests.count-guests.v1"


def guests() -> Service:
    """A service that answers one part, and declares the whole."""
    service = Service("guests", version="1")

    @service.answers(CountGuests, http=Http("GET", "/guests", who="anyone"))
    async def count_guests(question: CountGuests, caller: Caller) -> Page[int]:
        return Page[int](items=(7,))

    service.composes(
        "guests.get-welcome.v1",
        http=Http("GET", "/welcomes/{name}", query=("after",), who="anyone"),
        summary="A greeting and how many there are.",
        greeting=part(Greet),
        count=part(CountGuests),
    )
    return service


@pytest.fixture
async def client(amqp: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(amqp) as client, serving(guests(), amqp_url=amqp, database_url=None):
        yield client


async def is_whole(client: httpx.AsyncClient) -> Any:
    answer = (await client.get("/welcomes/Ann")).json()
    assert answer["problems"] == {}
    return answer


async def test_it_is_whole_while_everybody_is_there_and_in_part_when_one_has_left(
    amqp: str, client: httpx.AsyncClient
) -> None:
    async with serving(plug(), amqp_url=amqp, database_url=None):
        answer = await eventually(lambda: is_whole(client))
        assert (answer["greeting"], answer["count"]["items"]) == ({"words": "Hello, Ann!"}, [7])
    started = time.perf_counter()
    answer = (await client.get("/welcomes/Ann")).json()
    assert time.perf_counter() - started < 1
    assert (answer["greeting"], answer["count"]["items"]) == (None, [7])
    assert answer["problems"]["greeting"]["type"] == "/problems/service-unavailable"


async def test_a_late_part_is_given_up_at_the_deadline_and_the_others_are_there(
    amqp: str, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(plug(), amqp_url=amqp, database_url=None):
        await eventually(lambda: is_whole(client))
        monkeypatch.setattr(gateway, "ANSWER_WITHIN_SECONDS", 0.5)
        started = time.perf_counter()
        answer = (await client.get("/welcomes/Ann?after=20")).json()
        assert 0.4 < time.perf_counter() - started < 2
        assert (answer["greeting"], answer["count"]["items"]) == (None, [7])
        assert answer["problems"]["greeting"]["type"] == "/problems/deadline-passed"


async def test_what_a_part_refuses_is_told(amqp: str, client: httpx.AsyncClient) -> None:
    async with serving(plug(), amqp_url=amqp, database_url=None):
        await eventually(lambda: is_whole(client))
        answer = (await client.get("/welcomes/Ann?after=soon")).json()
        assert (answer["count"]["items"], answer["problems"]["greeting"]["errors"][0]["pointer"]) == ([7], "/after")
