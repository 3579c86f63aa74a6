"""Answers that are given again without asking."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from broker.lane import Answer, DeadlinePassedError, Request, refuse
from contracts.base import refusal
from contracts.presence import Cache, Stale
from tests.edge_api.world import World, offer
from tests.support.counting import Counting
from tests.support.eventually import eventually

GET, LIST, MINE = "shop.get-thing.v1", "shop.find-things.v1", "shop.get-mine.v1"
CHANGED, SOLD, CLOSED = "shop.thing-changed.v1", "shop.things-sold.v1", "shop.shop-closed.v1"
ONE = Cache(
    seconds=60,
    stale=(
        Stale(event=CHANGED, field="id", among="id"),
        Stale(event=SOLD, field="id", among="ids"),
        Stale(event=CLOSED),
    ),
)
MANY = Cache(seconds=60, stale=(Stale(event=CHANGED), Stale(event=SOLD)))
OFFERS = (
    offer(GET, "GET", "/things/{id}", cache=ONE),
    offer(LIST, "GET", "/things", query=("q",), cache=MANY),
    offer(MINE, "GET", "/mine", who="user", cache=ONE),
    offer("shop.change-thing.v1", "PATCH", "/things/{id}"),
)
no_such_thing = refusal("no-such-thing", 404, "There is no such thing.")


class Shop:
    """Answers with how often it was asked; while it is held, not before it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_asked = asyncio.Event()

    async def __call__(self, request: Request) -> Answer:
        self.asked += 1
        number = self.asked
        self.is_asked.set()
        await self.may_answer.wait()
        return Answer(str(number).encode())

    def hold(self) -> None:
        """Let nobody be answered until `may_answer`."""
        self.is_asked.clear()
        self.may_answer.clear()


@pytest.fixture
async def cached() -> AsyncIterator[World]:
    world = World()
    world.present("shop", *OFFERS)
    world.cache.hears(frozenset({CHANGED, SOLD, CLOSED}), OFFERS)
    async with world.client:
        yield world


@pytest.fixture
def shop(cached: World) -> Shop:
    shop = Shop()
    for topic in (GET, LIST, MINE):
        cached.lane.answers[topic] = shop
    return shop


async def got(world: World, path: str = "/things/7", **headers: str) -> str:
    response = await world.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return response.text


async def have_joined(joined: Counting, number: int) -> None:
    """Wait until so many wait for what somebody else has asked."""

    async def all_have() -> bool:
        return joined.more == number

    await eventually(all_have)


async def test_what_was_asked_is_answered_again_without_asking(cached: World, shop: Shop) -> None:
    hits = Counting("hedgerow_http_cached_total", outcome="hit")
    assert [await got(cached) for _ in range(3)] == ["1"] * 3
    assert (shop.asked, hits.more) == (1, 2)


async def test_each_address_has_an_answer_of_its_own(cached: World, shop: Shop) -> None:
    assert [await got(cached, path) for path in ("/things/7", "/things/8", "/things", "/things?q=x")] == list("1234")
    assert [await got(cached, path) for path in ("/things/7", "/things/8", "/things", "/things?q=x")] == list("1234")


@pytest.mark.parametrize(
    ("event", "data", "seen"),
    [
        (CHANGED, {"id": "7"}, ["3", "2"]),
        (SOLD, {"ids": ["9", "8"]}, ["1", "3"]),
        (SOLD, {"ids": []}, ["1", "2"]),
        (SOLD, {"ids": ["7", "8"]}, ["3", "4"]),
        (CLOSED, {}, ["3", "4"]),
        (CHANGED, None, ["3", "4"]),
        (CHANGED, {"name": "seven"}, ["3", "4"]),
        (CHANGED, ["7"], ["3", "4"]),
        ("shop.unheard-of.v1", {"id": "7"}, ["1", "2"]),
    ],
)
async def test_an_event_makes_stale_what_it_concerns(
    cached: World, shop: Shop, event: str, data: object, seen: list[str]
) -> None:
    assert [await got(cached, path) for path in ("/things/7", "/things/8")] == ["1", "2"]
    cached.cache.news(event, data)
    assert [await got(cached, path) for path in ("/things/7", "/things/8")] == seen


async def test_an_event_makes_all_lists_stale(cached: World, shop: Shop) -> None:
    assert [await got(cached, path) for path in ("/things", "/things?q=x")] == ["1", "2"]
    cached.cache.news(SOLD, {"ids": ["5"]})
    assert [await got(cached, path) for path in ("/things", "/things?q=x")] == ["3", "4"]


async def test_many_who_ask_at_once_cost_one_question(cached: World, shop: Shop) -> None:
    shop.hold()
    asking = [asyncio.create_task(got(cached)) for _ in range(20)]
    await shop.is_asked.wait()
    shop.may_answer.set()
    assert await asyncio.gather(*asking) == ["1"] * 20
    assert shop.asked == 1


async def test_who_goes_away_takes_the_answer_from_nobody(cached: World, shop: Shop) -> None:
    joined = Counting("hedgerow_http_cached_total", outcome="joined")
    shop.hold()
    first = asyncio.create_task(got(cached))
    await shop.is_asked.wait()
    others = [asyncio.create_task(got(cached)) for _ in range(3)]
    await have_joined(joined, len(others))
    first.cancel()
    others[0].cancel()
    await asyncio.wait([first, others[0]])
    shop.may_answer.set()
    assert await asyncio.gather(*others[1:]) == ["2", "2"]
    assert shop.asked == 2


async def test_an_answer_that_was_on_its_way_when_it_became_stale_is_not_kept(cached: World, shop: Shop) -> None:
    shop.hold()
    before = asyncio.create_task(got(cached))
    await shop.is_asked.wait()
    cached.cache.news(CHANGED, {"id": "7"})
    shop.is_asked.clear()
    after = asyncio.create_task(got(cached))
    await shop.is_asked.wait()
    shop.may_answer.set()
    assert [await before, await after, await got(cached)] == ["1", "2", "2"]


async def test_a_writes_reply_says_what_it_makes_stale_and_that_holds_before_it_is_answered(
    cached: World, shop: Shop
) -> None:
    news = json.dumps([[CHANGED, {"id": "7"}]])
    cached.lane.answers["shop.change-thing.v1"] = Answer(b"{}", news=news)
    assert [await got(cached, path) for path in ("/things/7", "/things/8")] == ["1", "2"]
    await cached.client.patch("/things/7")
    assert [await got(cached, path) for path in ("/things/7", "/things/8")] == ["3", "2"]


@pytest.mark.parametrize(
    "news",
    ["", "x", "null", "7", "{}", '{"a": 1}', '["x"]', '[["x"]]', "[[7, {}]]", '[[["x"], {}]]', "[" * 5000, "\ud800"],
)
async def test_news_that_make_no_sense_cost_the_cache_and_not_the_write(cached: World, shop: Shop, news: str) -> None:
    counting = Counting("hedgerow_http_senseless_news_total")
    assert [await got(cached, path) for path in ("/things/7", "/things")] == ["1", "2"]
    shop.hold()
    before = asyncio.create_task(got(cached, "/things/8"))
    await shop.is_asked.wait()
    cached.lane.answers["shop.change-thing.v1"] = Answer(b'{"changed": 1}', news=news)
    with capture_logs() as logs:
        response = await cached.client.patch("/things/7")
    assert (response.status_code, response.json()) == (200, {"changed": 1})
    assert [(entry["log_level"], entry["topic"]) for entry in logs] == [("error", "shop.change-thing.v1")]
    assert counting.more == 1
    shop.may_answer.set()
    assert await before == "3"
    assert [await got(cached, path) for path in ("/things/7", "/things", "/things/8")] == ["4", "5", "6"]


@pytest.mark.parametrize("data", ["[1, 2]", '{"id": [["7"], null, {"a": 1}]}', '{"id": {"7": 7}}', "1e400"])
async def test_news_of_whatever_form_harm_nobody(cached: World, shop: Shop, data: str) -> None:
    cached.lane.answers["shop.change-thing.v1"] = Answer(b"{}", news=f'[["{CHANGED}", {data}]]')
    await got(cached, "/things")
    assert (await cached.client.patch("/things/7")).status_code == 200
    assert await got(cached, "/things") == "2"


async def test_while_events_are_not_heard_nothing_is_kept(cached: World, shop: Shop) -> None:
    await got(cached)
    cached.cache.is_deaf()
    assert [await got(cached) for _ in range(2)] == ["2", "3"]
    cached.cache.hears(frozenset({CHANGED, SOLD}), OFFERS)
    assert [await got(cached) for _ in range(2)] == ["4", "5"], "one of its events is not heard yet"
    cached.cache.hears(frozenset({CHANGED, SOLD, CLOSED}), OFFERS)
    assert [await got(cached) for _ in range(2)] == ["6", "6"]


async def test_an_answer_that_was_on_its_way_when_events_were_missed_is_not_kept(cached: World, shop: Shop) -> None:
    shop.hold()
    before = asyncio.create_task(got(cached))
    await shop.is_asked.wait()
    cached.cache.is_deaf()
    cached.cache.hears(frozenset({CHANGED, SOLD, CLOSED}), OFFERS)
    shop.may_answer.set()
    assert [await before, await got(cached)] == ["1", "2"]


async def test_who_asks_again_because_another_has_gone_keeps_nothing_while_events_are_missed(
    cached: World, shop: Shop
) -> None:
    joined = Counting("hedgerow_http_cached_total", outcome="joined")
    shop.hold()
    first = asyncio.create_task(got(cached))
    await shop.is_asked.wait()
    second = asyncio.create_task(got(cached))
    await have_joined(joined, 1)
    cached.cache.is_deaf()
    first.cancel()
    shop.may_answer.set()
    assert await second == "2"
    assert await got(cached) == "3"


async def test_a_client_that_has_it_already_is_told_so(cached: World, shop: Shop) -> None:
    first = await cached.client.get("/things/7")
    assert (first.headers["cache-control"], first.headers["etag"][0]) == ("no-cache", '"')
    for known in (first.headers["etag"], f"W/{first.headers['etag']}", f'"x", {first.headers["etag"]}', "*"):
        again = await cached.client.get("/things/7", headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    cached.cache.news(CHANGED, {"id": "7"})
    changed = await cached.client.get("/things/7", headers={"if-none-match": first.headers["etag"]})
    assert (changed.status_code, changed.text) == (200, "2")
    assert changed.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize("nonsense", ["", "x", '"', ",,,", "W/", "\xff"])
async def test_an_if_none_match_that_makes_no_sense_matches_nothing(cached: World, shop: Shop, nonsense: str) -> None:
    response = await cached.client.get("/things/7", headers={b"if-none-match": nonsense.encode("latin-1")})
    assert response.status_code == 200


async def test_what_a_user_asks_for_themselves_is_never_kept(cached: World, shop: Shop) -> None:
    headers = {"authorization": f"Bearer {cached.token()}"}
    assert [(await cached.client.get("/mine", headers=headers)).text for _ in range(2)] == ["1", "2"]
    assert (await cached.client.get("/mine", headers=headers)).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "depends",
    [{"method": "POST"}, {"status": 202}, {"roles": ("baker",)}, {"headers": {"x-colour": "colour"}}],
    ids=["on the body", "on what was accepted", "on the caller", "on a header"],
)
async def test_what_depends_on_more_than_the_address_is_never_kept(
    cached: World, shop: Shop, depends: dict[str, Any]
) -> None:
    told = {"method": "GET", **depends}
    cached.present("plug", offer("plug.look.v1", path="/plug", cache=Cache(seconds=60), **told))
    cached.lane.answers["plug.look.v1"] = shop
    headers = {"authorization": f"Bearer {cached.token(roles=['baker'])}", "content-type": "application/json"}
    for number in "12":
        assert (await cached.client.request(told["method"], "/plug", headers=headers)).text == number


async def test_who_wants_it_anew_gets_it_anew_and_so_do_all_after_them(cached: World, shop: Shop) -> None:
    assert [await got(cached), await got(cached, cache_control="no-cache"), await got(cached)] == ["1", "2", "2"]


async def test_refusals_and_failures_are_not_kept(cached: World, shop: Shop) -> None:
    cached.lane.answers[GET] = refuse(no_such_thing())
    assert [(await cached.client.get("/things/7")).status_code for _ in range(2)] == [404, 404]
    cached.lane.answers[GET] = DeadlinePassedError("no answer")
    assert [(await cached.client.get("/things/7")).status_code for _ in range(2)] == [504, 504]
    cached.lane.answers[GET] = shop
    assert await got(cached) == "1"


async def test_nothing_is_kept_for_longer_than_its_service_said(
    cached: World, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await got(cached) == "1"
    later = time.monotonic() + 61
    monkeypatch.setattr("edge_api.cache.time.monotonic", lambda: later)
    assert [await got(cached) for _ in range(2)] == ["2", "2"]


async def test_what_is_kept_is_bounded_and_who_was_asked_for_least_recently_goes(cached: World, shop: Shop) -> None:
    large = Answer(b'"' + b"x" * 30_000 + b'"')
    cached.lane.answers[GET] = large
    for name in ("a", "b", "c"):
        await got(cached, f"/things/{name}")
    await got(cached, "/things/a")
    await got(cached, "/things/d")
    cached.lane.answers[GET] = shop
    found = [await got(cached, f"/things/{name}") for name in ("a", "c", "d")]
    assert [len(text) for text in found] == [30_002] * 3
    assert await got(cached, "/things/b") == "1"


async def test_what_is_forgotten_leaves_nothing_behind(cached: World, shop: Shop) -> None:
    for number in range(50):
        await got(cached, f"/things/{number}")
    cached.cache.is_deaf()
    left = (cached.cache._entries, cached.cache._fills, cached.cache._tags, cached.cache._tagged, cached.cache._bytes)
    assert left == ({}, {}, {}, {}, 0)
