"""How often one client may ask."""

import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from contracts.base import Caller
from contracts.presence import Route
from edge_api.clients import Clients, networks
from edge_api.limits import DEFAULTS, KEPT, Limits, Memory, Rate, rates_from
from edge_api.problems import RefusedError
from tests.edge_api.world import World, bearing, offer
from tests.support.counting import Counting

RATES = {
    "address": Rate("address", 8, 3600),
    "user": Rate("user", 6, 3600),
    "reads": Rate("reads", 4, 3600),
    "writes": Rate("writes", 2, 3600),
    "credentials": Rate("credentials", 1, 3600),
}


@pytest.fixture
async def limited() -> AsyncIterator[World]:
    world = World(RATES, clients=Clients(networks("127.0.0.1")))
    world.present(
        "shop",
        offer("shop.find-things.v1", "GET", "/things"),
        offer("shop.add-thing.v1", "POST", "/things"),
        offer("shop.log-in.v1", "POST", "/entrances", limit="credentials"),
        offer("shop.pay.v1", "POST", "/payments", limit="unheard-of"),
    )
    async with world.client:
        yield world


async def statuses(world: World, method: str, path: str, times: int, **headers: str) -> list[int]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [(await world.client.request(method, path, headers=named)).status_code for _ in range(times)]


@pytest.mark.parametrize(
    ("method", "path", "passing"), [("GET", "/things", 4), ("POST", "/things", 2), ("POST", "/entrances", 1)]
)
async def test_each_class_of_operations_has_its_rate(limited: World, method: str, path: str, passing: int) -> None:
    assert await statuses(limited, method, path, passing + 2) == [200] * passing + [429] * 2
    assert limited.lane.count("shop.find-things.v1") <= 4


async def test_a_class_that_nobody_configured_counts_as_writes(limited: World) -> None:
    assert await statuses(limited, "POST", "/payments", 3) == [200, 200, 429]


async def test_one_class_that_is_used_up_leaves_the_others(limited: World) -> None:
    assert await statuses(limited, "POST", "/things", 3) == [200, 200, 429]
    assert await statuses(limited, "GET", "/things", 1) == [200]


async def test_each_client_has_a_rate_of_their_own(limited: World) -> None:
    assert await statuses(limited, "POST", "/things", 3, x_forwarded_for="192.0.2.1") == [200, 200, 429]
    assert await statuses(limited, "POST", "/things", 1, x_forwarded_for="192.0.2.2") == [200]


async def test_a_user_is_counted_wherever_they_ask_from(limited: World) -> None:
    token = limited.token(sub=str(uuid4()))
    answers = [
        (await limited.client.get("/things", headers={**bearing(token), "x-forwarded-for": f"192.0.2.{number}"}))
        for number in range(5)
    ]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429]
    other = await limited.client.get("/things", headers=bearing(limited.token(sub=str(uuid4()))))
    assert other.status_code == 200


async def test_an_address_is_counted_whatever_it_asks_for(limited: World) -> None:
    found = [
        await statuses(limited, "GET", path, 2) for path in ("/none", "/things", "/openapi.json", "/problems/none")
    ]
    assert found == [[404, 404], [200, 200], [200, 200], [404, 404]]
    assert await statuses(limited, "GET", "/none", 1) == [429]
    assert await statuses(limited, "GET", "/things", 1) == [429]
    assert await statuses(limited, "GET", "/healthz", 3) == [200] * 3


async def test_who_is_turned_away_costs_no_look_at_their_token(limited: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await statuses(limited, "GET", "/none", 9)
    looked: list[str] = []
    monkeypatch.setattr("edge_api.authentication.key_id", looked.append)
    assert await statuses(limited, "GET", "/things", 1, authorization="Bearer forged") == [429]
    assert looked == []


async def test_refused_tokens_count(limited: World) -> None:
    found = await statuses(limited, "GET", "/things", 9, authorization="Bearer forged")
    assert found == [401] * 8 + [429]


async def test_what_is_left_is_said_with_every_answer(limited: World) -> None:
    first = await limited.client.get("/things")
    assert first.headers["ratelimit"] == '"reads";r=3;t=900'
    assert first.headers["ratelimit-policy"] == '"address";q=8;w=3600, "reads";q=4;w=3600'
    await limited.client.post("/things")
    refused = [await limited.client.post("/things") for _ in range(2)][-1]
    assert refused.headers["retry-after"] == "1800" or refused.headers["retry-after"] == "1799"
    assert refused.headers["ratelimit"].startswith('"writes";r=0;t=')
    assert refused.json()["type"] == "/problems/too-many-requests"


async def test_who_is_refused_is_counted_by_limit(limited: World) -> None:
    counting = Counting("hedgerow_http_limited_total", limit="writes")
    await statuses(limited, "POST", "/things", 4)
    assert counting.more == 2


async def test_each_request_of_a_flood_is_counted_as_refused(limited: World) -> None:
    counting = Counting("hedgerow_http_limited_total", limit="address")
    assert (await statuses(limited, "GET", "/none", 20)).count(429) == counting.more == 12


def test_every_limit_is_counted_from_zero() -> None:
    Limits({"exports": Rate("exports", 1, 60)}, Memory(), Clients())
    assert REGISTRY.get_sample_value("hedgerow_http_limited_total", {"limit": "exports"}) == 0


async def test_a_rate_lets_its_number_through_at_once_and_then_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rate, memory = 1000.0, Rate("writes", 10, 5), Memory()
    monkeypatch.setattr(time, "monotonic", lambda: now)

    async def passes() -> bool:
        return rate.is_open((await memory.charge([("someone", rate)]))[0])

    assert [await passes() for _ in range(12)] == [True] * 10 + [False] * 2
    now += 0.5
    assert [await passes() for _ in range(2)] == [True, False]
    now += 3600
    assert [await passes() for _ in range(11)] == [True] * 10 + [False]


async def test_what_one_limit_refuses_uses_up_none_of_the_others() -> None:
    wide, narrow, memory = Rate("user", 10, 3600), Rate("writes", 1, 3600), Memory()
    for _ in range(5):
        await memory.charge([("wide", wide), ("narrow", narrow)])
    (ahead,) = await memory.charge([("wide", wide)])
    assert wide.left(ahead) == 9


async def test_what_is_remembered_is_bounded_and_the_last_ones_stay() -> None:
    rate, memory = Rate("address", 1, 3600), Memory()
    for number in range(2 * KEPT + 10):
        await memory.charge([(str(number), rate)])
    assert len(memory._young) + len(memory._old) <= 2 * KEPT + 1
    assert not rate.is_open((await memory.charge([(str(KEPT + 10), rate)]))[0])


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.floats(0, 10**5))
def test_what_is_left_is_what_passes(requests: int, seconds: int, ahead: float) -> None:
    rate = Rate("any", requests, seconds)
    assert rate.is_open(ahead) == (rate.left(ahead) > 0)


def test_rates_are_changed_by_name_and_the_others_stay() -> None:
    assert rates_from("") == DEFAULTS
    assert rates_from("writes=5/1 exports=1/60")["writes"] == Rate("writes", 5, 1)
    assert rates_from("writes=5/1 exports=1/60").keys() == DEFAULTS.keys() | {"exports"}
    assert rates_from("off") == {}


@pytest.mark.parametrize("text", ["writes", "writes=0/60", "writes=5/0", "writes=5", "Writes=5/60", "writes=5/60,"])
def test_what_is_no_rate_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        rates_from(text)


async def test_an_operation_that_names_the_limit_of_addresses_is_counted_by_address_too() -> None:
    limits = Limits({"address": Rate("address", 1, 3600)}, Memory(), Clients(()))
    route = Route(method="GET", path="/things", limit="address")
    await limits.count("192.0.2.1", Caller(id=uuid4()), route)
    with pytest.raises(RefusedError):
        await limits.count("192.0.2.1", Caller(id=uuid4()), route)
