"""How much is asked of one service at a time."""

import asyncio
from typing import Literal

import pytest

from broker.lane import PREFETCH, Answer, DeadlinePassedError, Request
from contracts.presence import Route
from edge_api.capacity import AT_ONCE, STANDS_AFTER_SECONDS, Capacity
from edge_api.problems import RefusedError
from tests.edge_api.world import World, bearing, offer
from tests.support.counting import Counting


class Slow:
    """A service that answers when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.waiting = 0

    async def __call__(self, request: Request) -> Answer:
        self.waiting += 1
        await self.go_on.wait()
        return Answer(b"{}")


@pytest.fixture
def slow(world: World) -> Slow:
    world.present("other", offer("other.ask.v1", "GET", "/others"))
    slow = Slow()
    for topic in ("shop.find-things.v1", "shop.add-thing.v1", "shop.get-mine.v1"):
        world.lane.answers[topic] = slow
    return slow


async def test_a_slow_service_is_asked_so_much_and_no_more_and_others_go_on(world: World, slow: Slow) -> None:
    shed = Counting("hedgerow_http_shed_total", peer="shop")
    asked = [asyncio.create_task(world.client.post("/things")) for _ in range(10)]
    turned_away, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    while len(turned_away) < 2:
        more, _ = await asyncio.wait(set(asked) - turned_away, return_when=asyncio.FIRST_COMPLETED)
        turned_away |= more
    answers = [one.result() for one in turned_away]
    assert {(one.json()["type"], one.headers["retry-after"]) for one in answers} == {("/problems/overloaded", "1")}
    assert {one.status_code for one in answers} == {503}
    assert (slow.waiting, shed.more) == (8, 2)
    assert (await world.client.get("/others")).status_code == 200
    slow.go_on.set()
    assert [(await one).status_code for one in set(asked) - turned_away] == [201] * 8
    assert (await world.client.post("/things")).status_code == 201


async def test_who_browses_is_turned_away_before_who_buys(world: World, slow: Slow) -> None:
    browsing = [asyncio.create_task(world.client.get("/things")) for _ in range(7)]
    (turned_away,), _ = await asyncio.wait(browsing, return_when=asyncio.FIRST_COMPLETED)
    assert (turned_away.result().status_code, slow.waiting) == (503, 6)
    mine = asyncio.create_task(world.client.get("/mine", headers=bearing(world.token())))
    buying = asyncio.create_task(world.client.post("/things"))
    slow.go_on.set()
    assert ((await mine).status_code, (await buying).status_code) == (200, 201)


async def test_a_request_that_fails_gives_its_place_back(world: World) -> None:
    world.lane.answers["shop.add-thing.v1"] = DeadlinePassedError("no answer")
    assert [(await world.client.post("/things")).status_code for _ in range(20)] == [504] * 20


class Crowd:
    """Those who ask a shop with so many instances, at times of our choosing."""

    def __init__(self, *, instances: int = 1) -> None:
        self.now = 0.0
        self.capacity = Capacity(clock=lambda: self.now)
        world = World()
        for _ in range(instances):
            world.present("shop", offer("shop.find-things.v1", "GET", "/things"))
        self._shop = world.registry.services["shop"]

    def come(self, wanted: int, method: Literal["GET", "POST"] = "GET") -> int:
        """So many ask; how many are let in."""
        for number in range(wanted):
            try:
                self.capacity.take(self._shop, Route(method=method, path="/things", who="anyone"))
            except RefusedError:
                return number
        return wanted

    def go(self, number: int) -> None:
        """So many have their answers."""
        for _ in range(number):
            self.capacity.give_back(self._shop)


def test_a_burst_waits_until_it_is_worked_off() -> None:
    crowd = Crowd()
    assert crowd.come(1000) == AT_ONCE * 3 // 4
    crowd.go(AT_ONCE * 3 // 4)
    crowd.now = STANDS_AFTER_SECONDS + 1
    assert crowd.come(1000) == AT_ONCE * 3 // 4


@pytest.mark.parametrize("instances", [1, 2])
def test_where_a_queue_stands_who_browses_gets_what_is_in_hand_and_as_much_again(instances: int) -> None:
    crowd = Crowd(instances=instances)
    enough, most = 2 * PREFETCH * instances, AT_ONCE * 3 // 4
    assert crowd.come(1000) == most
    crowd.now = STANDS_AFTER_SECONDS + 0.1
    crowd.go(most - enough)
    assert crowd.come(1) == 0
    crowd.go(5)
    assert crowd.come(1000) == 5
    assert crowd.come(1000, "POST") == AT_ONCE - enough


def test_a_queue_that_was_empty_stands_no_more() -> None:
    crowd = Crowd()
    under_way = crowd.come(1000)
    crowd.now = STANDS_AFTER_SECONDS + 0.1
    crowd.go(under_way - PREFETCH)
    assert crowd.come(1000) == AT_ONCE * 3 // 4 - PREFETCH


def test_a_burst_of_those_who_buy_is_no_queue_that_stands() -> None:
    crowd = Crowd()
    crowd.now = 100.0
    assert crowd.come(2 * PREFETCH, "POST") == 2 * PREFETCH
    assert crowd.come(1) == 1
