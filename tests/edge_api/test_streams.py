"""Streams: what is told, to whom, how often, and when it ends."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from starlette.types import Message

from broker.lane import Answer, DeadlinePassedError, Request, refuse
from contracts.base import refusal
from contracts.presence import LAST_EVENT_ID, Stale, Stream
from contracts.tokens import LIFETIME_SECONDS, SESSION_CLAIM, TICKET_AUDIENCE, TICKET_SECONDS, TICKET_TYPE, Revocation
from edge_api import streams
from tests.edge_api.world import World, bearing, offer
from tests.support.counting import Counting
from tests.support.eventually import eventually

FOLLOW, MOVED = "shop.follow-thing.v1", "shop.thing-moved.v1"
OFFER = offer(
    FOLLOW,
    "GET",
    "/things/{id}/events",
    headers={LAST_EVENT_ID: "after"},
    within=2,
    stream=Stream(news=(Stale(event=MOVED, field="id", among="thing"),), after="after"),
)
no_such_thing = refusal("no-such-thing", 404, "There is no such thing.")


class Shop:
    """Knows what happened to the thing."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.is_over = False
        self.failure: Exception | Answer | None = None

    async def __call__(self, request: Request) -> Answer:
        if isinstance(self.failure, Exception):
            raise self.failure
        if self.failure is not None:
            return self.failure
        after = int(request.params.get("after", 0))
        items = [{"status": status} for status in self.happened[after:]]
        return Answer(json.dumps({"items": items, "is_over": self.is_over}).encode())


class Reading:
    """A client of a stream: what it got, and its ways to stop."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.text = ""
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.leaves = asyncio.Event()
        self._asked = False

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.may_read.wait()
        self.status = message.get("status", self.status)
        self.headers.update(message.get("headers", ()))
        self.text += message.get("body", b"").decode()

    @property
    def events(self) -> list[tuple[int, str]]:
        """The ids and the statuses that were told."""
        blocks = [block.splitlines() for block in self.text.split("\n\n") if block.startswith("id: ")]
        return [(int(one[4:]), json.loads(other[6:])["status"]) for one, other in blocks]

    async def got(self, *statuses: str) -> None:
        """Wait until exactly these were told."""
        await eventually(lambda: _is(self, statuses), within=5, every=0.005)


async def _is(reading: Reading, statuses: tuple[str, ...]) -> bool:
    assert [status for _, status in reading.events] == list(statuses)
    return True


Open = Callable[..., "Opened"]


class Opened:
    """A stream that is read while the block lasts."""

    def __init__(self, world: World, path: str, headers: dict[str, str]) -> None:
        self.reading = Reading()
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": headers.pop("method", "GET"),
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "client": ("192.0.2.1", 7),
        }
        self.task = asyncio.create_task(world.app(scope, self.reading.receive, self.reading.send))

    async def __aenter__(self) -> Reading:
        await eventually(self._began, within=5, every=0.001)
        return self.reading

    async def __aexit__(self, *_: object) -> None:
        self.reading.leaves.set()
        self.reading.may_read.set()
        await asyncio.wait_for(self.task, 5)

    async def ended(self) -> Reading:
        """Wait until the edge ended it."""
        await asyncio.wait_for(self.task, 5)
        return self.reading

    async def _began(self) -> bool:
        return self.reading.status > 0 or self.task.done()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.present("shop", OFFER)
    world.streams.hears(frozenset({MOVED}), [OFFER])
    yield world
    assert await _all_closed(world)


async def _all_closed(world: World) -> bool:
    return world.app.in_progress == 0 and not world.streams._open and not world.streams._of_one


@pytest.fixture
def shop(world: World) -> Shop:
    shop = Shop()
    world.lane.answers[FOLLOW] = shop
    return shop


@pytest.fixture
def opened(world: World) -> Open:
    return lambda path="/things/7/events", **headers: Opened(world, path, headers)


def say(world: World, data: Any = None) -> None:
    world.streams.news(MOVED, data or {"thing": "7"})


async def test_what_happened_is_told_and_what_happens_follows(world: World, shop: Shop, opened: Open) -> None:
    shop.happened = ["placed", "reserved"]
    async with opened() as reading:
        await reading.got("placed", "reserved")
        assert reading.headers[b"content-type"] == b"text/event-stream"
        assert b"content-length" not in reading.headers
        shop.happened.append("confirmed")
        say(world)
        await reading.got("placed", "reserved", "confirmed")
        assert [number for number, _ in reading.events] == [1, 2, 3]


async def test_each_question_has_the_seconds_of_the_route(world: World, shop: Shop, opened: Open) -> None:
    async with opened("/things/7/events") as reading:
        shop.happened.append("bought")
        world.streams.news(MOVED, {"thing": "7"})
        await reading.got("bought")
    assert [request.seconds_left for request in world.lane.asked] == [pytest.approx(2, abs=0.5)] * 2


async def test_what_does_not_concern_it_is_not_asked_for(world: World, shop: Shop, opened: Open) -> None:
    async with opened() as reading:
        say(world, {"thing": "8"})
        shop.happened = ["placed"]
        say(world, {"thing": "7"})
        await reading.got("placed")
        assert world.lane.count(FOLLOW) == 2


async def test_who_comes_back_is_told_the_rest(shop: Shop, opened: Open) -> None:
    shop.happened = ["placed", "reserved", "confirmed"]
    async with opened(last_event_id="2") as reading:
        await reading.got("confirmed")
        assert reading.events == [(3, "confirmed")]


async def test_an_answer_that_is_over_ends_the_stream_and_who_comes_back_is_sent_away(shop: Shop, opened: Open) -> None:
    shop.happened, shop.is_over = ["placed", "rejected"], True
    assert (await opened().ended()).events == [(1, "placed"), (2, "rejected")]
    assert (await opened(last_event_id="2").ended()).status == 204


async def test_what_was_said_while_nothing_was_heard_is_told_afterwards(world: World, shop: Shop, opened: Open) -> None:
    async with opened() as reading:
        world.streams.is_deaf()
        shop.happened = ["placed"]
        world.streams.hears(frozenset({MOVED}), [OFFER])
        await reading.got("placed")


async def test_what_no_event_told_of_is_found_all_the_same(
    shop: Shop, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "ASK_EVERY", 0.05)
    monkeypatch.setattr(streams, "BEAT_EVERY", 0.02)
    async with opened() as reading:
        shop.happened = ["placed"]
        await reading.got("placed")
        assert ": still here" in reading.text


@pytest.mark.parametrize("failure", [DeadlinePassedError("late"), Answer(b"nonsense"), Answer(b"[]")])
async def test_a_service_that_does_not_answer_is_asked_again(
    world: World, shop: Shop, opened: Open, monkeypatch: pytest.MonkeyPatch, failure: Exception | Answer
) -> None:
    monkeypatch.setattr(streams, "TRY_AGAIN_AFTER", (0.0, 0.001))
    async with opened() as reading:
        shop.failure, shop.happened = failure, ["placed"]
        say(world)
        await eventually(lambda: _asked(world, 3))
        shop.failure = None
        await reading.got("placed")


async def _asked(world: World, times: int) -> bool:
    return world.lane.count(FOLLOW) >= times


async def test_who_may_not_see_it_is_refused_and_who_may_not_any_more_is_told_no_more(
    world: World, shop: Shop, opened: Open
) -> None:
    refused = refuse(no_such_thing())
    async with opened() as reading:
        shop.failure = refused
        ended = Counting("hedgerow_http_streams_ended_total", why="refused")
        say(world)
        await eventually(lambda: _all_closed(world))
        assert ended.more == 1
    assert reading.status == 200
    assert (await opened().ended()).status == 404


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "٣"])
async def test_a_malformed_last_event_id_is_refused(shop: Shop, opened: Open, value: str) -> None:
    reading = await opened(last_event_id=value).ended()
    assert (reading.status, json.loads(reading.text)["type"]) == (422, "/problems/invalid-request")


async def test_head_is_answered_without_a_stream(shop: Shop, opened: Open) -> None:
    reading = await opened(method="HEAD").ended()
    assert (reading.status, reading.text) == (200, "")


async def test_there_are_no_more_streams_than_there_may_be(world: World, shop: Shop, opened: Open) -> None:
    ours = bearing(world.token())
    async with opened(), opened():
        third = await opened().ended()
        assert (third.status, json.loads(third.text)["type"]) == (429, "/problems/too-many-streams")
        async with opened(**ours), opened(**ours):
            fifth = await opened(**bearing(world.token())).ended()
            assert (fifth.status, json.loads(fifth.text)["type"]) == (503, "/problems/overloaded")
            assert b"retry-after" in fifth.headers
    async with opened() as reading:
        assert reading.status == 200


@pytest.mark.parametrize("whose", ["session", "generation"])
async def test_a_stream_ends_when_its_tokens_are_revoked(world: World, shop: Shop, opened: Open, whose: str) -> None:
    user, session = uuid4(), uuid4()
    claims: dict[str, Any] = {SESSION_CLAIM: str(session)}
    token = world.token(sub=str(user), **claims)
    mine, others = opened(**bearing(token)), opened(**bearing(world.token()))
    async with mine, others as other:
        revoked = (
            Revocation(user_id=user, session=session) if whose == "session" else Revocation(user_id=user, generation=1)
        )
        world.revocations.hear(revoked)
        await mine.ended()
        shop.happened = ["placed"]
        say(world)
        await other.got("placed")


async def test_when_the_edge_stops_all_end_at_once(world: World, shop: Shop, opened: Open) -> None:
    stream = opened()
    async with stream:
        world.streams.close()
        await stream.ended()
        assert (await opened().ended()).status == 503


async def test_who_does_not_read_is_cut(
    world: World, shop: Shop, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "WRITE_WITHIN", 0.02)
    slow = Counting("hedgerow_http_streams_ended_total", why="slow")
    async with opened() as reading:
        reading.may_read.clear()
        shop.happened = ["placed"]
        say(world)
        await eventually(lambda: _is_counted(slow))


async def _is_counted(counting: Counting) -> bool:
    return counting.more == 1


async def test_no_stream_lasts_for_ever(shop: Shop, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LAST_FOR", 0.05)
    monkeypatch.setattr(streams, "BEAT_EVERY", 0.02)
    began = time.monotonic()
    assert (await opened().ended()).status == 200
    assert time.monotonic() - began < 5


async def test_its_duration_is_not_that_of_an_answer(world: World, shop: Shop, opened: Open) -> None:
    answers = Counting("hedgerow_http_request_seconds_count", route="/things/{id}/events", method="GET")
    requests = Counting("hedgerow_http_requests_total", route="/things/{id}/events", method="GET", status="2xx")
    async with opened():
        pass
    assert (answers.more, requests.more) == (0, 1)


# --- tickets ----------------------------------------------------------------------------------------------------------


def ticket(world: World, **claims: Any) -> str:
    """A valid ticket, except for what is asked for."""
    header = claims.pop("header", {"typ": TICKET_TYPE})
    usual = {"aud": TICKET_AUDIENCE, "exp": int(time.time()) + TICKET_SECONDS}
    return world.token(header=header, **{**usual, **claims})


async def test_a_ticket_opens_a_stream_for_its_owner(world: World, shop: Shop, opened: Open) -> None:
    user = uuid4()
    async with opened(f"/things/7/events?ticket={ticket(world, sub=str(user))}") as reading:
        assert reading.status == 200
        assert world.lane.last.caller.id == user
        assert "ticket" not in world.lane.last.params


@pytest.mark.parametrize(
    "claims",
    [
        {"header": {}},
        {"header": {"typ": "JWT"}},
        {"aud": "hedgerow"},
        {"exp": int(time.time()) - 60},
        {"exp": int(time.time()) + LIFETIME_SECONDS},
    ],
)
async def test_what_is_no_ticket_opens_none(world: World, shop: Shop, opened: Open, claims: dict[str, Any]) -> None:
    reading = await opened(f"/things/7/events?ticket={ticket(world, **claims)}").ended()
    assert (reading.status, json.loads(reading.text)["type"]) == (401, "/problems/unauthenticated")
    assert world.lane.count(FOLLOW) == 0


@pytest.mark.parametrize("forged", ["", "x", "a.b.c", "%00", "e30.e30.e30"])
async def test_a_forged_ticket_is_refused(shop: Shop, opened: Open, forged: str) -> None:
    assert (await opened(f"/things/7/events?ticket={forged}").ended()).status == 401


async def test_a_ticket_is_no_access_token_and_opens_nothing_else(world: World, shop: Shop) -> None:
    world.present("till", offer("till.look.v1", "GET", "/till", who="user"))
    async with world.client as client:
        assert (await client.get("/till", headers=bearing(ticket(world)))).status_code == 401
        assert (await client.get(f"/till?ticket={ticket(world)}")).status_code == 401


async def test_a_revoked_ticket_is_refused(world: World, shop: Shop, opened: Open) -> None:
    session = uuid4()
    claims: dict[str, Any] = {SESSION_CLAIM: str(session)}
    revoked = ticket(world, **claims)
    world.revocations.hear(Revocation(user_id=uuid4(), session=session))
    assert (await opened(f"/things/7/events?ticket={revoked}").ended()).status == 401
