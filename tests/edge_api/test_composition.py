"""Several questions at one address."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from broker.lane import Answer, DeadlinePassedError, OverloadedError, Request, refuse
from broker.reconnecting import BrokerAwayError
from contracts.base import refusal
from contracts.presence import Offer, Part
from tests.edge_api.world import Reply, World, bearing, nobody, offer

no_such_thing = refusal("no-such-thing", 404, "There is no such thing.")
THING, THINGS, MINE, BOOKS = "shop.get-thing.v1", "shop.find-things.v1", "shop.get-mine.v1", "shop.get-books.v1"


def page(*parts: Part, path: str = "/page", **more: Any) -> Offer:
    """A composition of these parts."""
    return offer("pages.get-page.v1", "GET", path, **more).model_copy(update={"parts": parts})


BOTH = (Part(name="mine", topic=MINE), Part(name="found", topic=THINGS, given={"limit": "5"}))


@pytest.fixture
def pages(world: World) -> World:
    world.present("pages", page(*BOTH))
    world.lane.answers[MINE] = Answer(b'{"mine":  1}')
    world.lane.answers[THINGS] = Answer(b"[]")
    return world


async def ask(world: World, path: str = "/page", *, roles: list[str] | None = None) -> tuple[int, Any]:
    response = await world.client.get(path, headers=bearing(world.token(roles=roles or [])))
    return response.status_code, response.json()


async def test_the_answers_are_put_together_as_they_are(pages: World) -> None:
    response = await pages.client.get("/page", headers=bearing(pages.token()))
    assert response.status_code == 200
    assert response.content == b'{"mine":{"mine":  1},"found":[],"problems":{}}'
    assert response.headers["content-type"] == "application/json"


async def test_the_parts_are_asked_at_once_with_one_deadline_for_the_same_caller(pages: World) -> None:
    together = asyncio.Barrier(2)

    async def meet(request: Request) -> Answer:
        await asyncio.wait_for(together.wait(), 5)
        return Answer(b"1")

    pages.lane.answers |= {MINE: meet, THINGS: meet}
    assert await ask(pages) == (200, {"mine": 1, "found": 1, "problems": {}})
    mine, found = (request for request in pages.lane.asked if request.topic in (MINE, THINGS))
    assert (mine.params, found.params) == ({}, {"limit": "5"})
    assert mine.deadline == found.deadline
    assert mine.caller == found.caller
    assert mine.caller.id is not None
    assert (mine.traceparent, mine.request_id) == (found.traceparent, found.request_id)


@pytest.mark.parametrize(
    ("failure", "status", "slug"),
    [
        (nobody(THINGS), 503, "service-unavailable"),
        (DeadlinePassedError(THINGS), 504, "deadline-passed"),
        (OverloadedError(), 503, "overloaded"),
        (BrokerAwayError("gone"), 503, "broker-away"),
        (refuse(no_such_thing("Not that one.")), 404, "no-such-thing"),
        (Answer(b'{"half": '), 502, "bad-answer"),
        (Answer(b"{}", refused=True), 502, "bad-answer"),
    ],
)
async def test_a_part_that_fails_is_null_and_its_problem_stands_beside_it(
    pages: World, failure: Reply, status: int, slug: str
) -> None:
    pages.lane.answers[THINGS] = failure
    with capture_logs():
        response = await pages.client.get("/page", headers=bearing(pages.token()))
    answer = response.json()
    assert (response.status_code, answer["mine"], answer["found"]) == (200, {"mine": 1}, None)
    problem = answer["problems"].pop("found")
    assert (problem["type"], problem["status"]) == (f"/problems/{slug}", status)
    assert problem["instance"] == response.headers["x-request-id"]
    assert answer["problems"] == {}


async def test_a_part_whose_service_is_away_is_not_waited_for(pages: World) -> None:
    pages.present("numbers", offer("numbers.count.v1", "GET", "/count"))
    pages.present("pages", page(*BOTH, Part(name="count", topic="numbers.count.v1")), version="2")
    pages.leave("numbers")
    status, answer = await ask(pages)
    assert (status, answer["count"], answer["problems"]["count"]["type"]) == (
        200,
        None,
        "/problems/service-unavailable",
    )
    assert pages.lane.count("numbers.count.v1") == 0


async def test_a_part_that_nobody_has_ever_answered_is_there_once_somebody_does(pages: World) -> None:
    pages.present("pages", page(*BOTH, Part(name="count", topic="numbers.count.v1")), version="2")
    _, answer = await ask(pages)
    assert answer["problems"]["count"]["status"] == 503
    pages.present("numbers", offer("numbers.count.v1", "GET", "/count"))
    pages.lane.answers["numbers.count.v1"] = Answer(b"7")
    _, answer = await ask(pages)
    assert (answer["count"], answer["problems"]) == (7, {})


async def test_it_answers_although_who_declared_it_is_away(pages: World) -> None:
    pages.leave("pages")
    assert (await ask(pages))[0] == 200


async def test_each_part_counts_for_what_its_service_is_asked_at_a_time(world: World) -> None:
    world.present("pages", page(*(Part(name=f"part{number}", topic=MINE) for number in range(9))))
    eight = asyncio.Barrier(8)

    async def meet(request: Request) -> Answer:
        await asyncio.wait_for(eight.wait(), 5)
        return Answer(b"1")

    world.lane.answers[MINE] = meet
    _, answer = await ask(world)
    assert [part for part, reply in answer.items() if reply is None] == ["part8"]
    assert answer["problems"]["part8"]["type"] == "/problems/overloaded"


@pytest.mark.parametrize(("roles", "status"), [([], 403), (["staff"], None)])
async def test_who_may_not_ask_a_part_is_refused_that_part(world: World, roles: list[str], status: int | None) -> None:
    world.present("pages", page(Part(name="best", topic="shop.get-best.v1"), Part(name="books", topic=BOOKS)))
    _, answer = await ask(world, roles=roles)
    assert answer["best"] == {}
    assert answer["problems"].get("books", {}).get("status") == status
    assert world.lane.count(BOOKS) == (0 if status else 1)


async def test_without_a_token_a_part_for_users_is_refused(pages: World) -> None:
    answer = (await pages.client.get("/page")).json()
    assert (answer["found"], answer["problems"]["mine"]["status"]) == ([], 401)


async def test_a_composition_has_its_own_bar_too(world: World) -> None:
    world.present("pages", page(*BOTH, who="staff"))
    assert (await ask(world))[0] == 403
    assert (await world.client.get("/page")).status_code == 401
    assert [request for request in world.lane.asked if request.topic in (MINE, THINGS)] == []


async def test_when_every_part_fails_the_whole_fails_as_its_first_part_did(pages: World) -> None:
    pages.lane.answers |= {MINE: DeadlinePassedError(MINE), THINGS: refuse(no_such_thing())}
    response = await pages.client.get("/page", headers=bearing(pages.token()))
    assert (response.status_code, response.json()["type"]) == (504, "/problems/deadline-passed")
    assert response.headers["content-type"] == "application/problem+json"
    assert "retry-after" in response.headers


async def test_the_address_gives_the_parts_what_they_take(world: World) -> None:
    parts = Part(name="thing", topic=THING, takes=("id",)), Part(name="found", topic=THINGS, takes=("q", "limit"))
    world.present("pages", page(*parts, path="/pages/{id}", query=("q", "limit")))
    assert (await ask(world, "/pages/7?q=red"))[0] == 200
    thing, found = (request for request in world.lane.asked if request.topic in (THING, THINGS))
    assert (thing.params, found.params) == ({"id": "7"}, {"q": "red"})
    assert (await ask(world, "/pages/7?colour=red"))[0] == 422


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (page(Part(name="added", topic="shop.add-thing.v1")), "its part added is no query"),
        (page(Part(name="secret", topic="vault.open.v1")), "its part secret has no route of its own"),
        (page(Part(name="mine", topic=MINE), status=204), "a composition is a plain GET"),
        (page(Part(name="problems", topic=MINE)), "the names of its parts clash"),
        (page(Part(name="a", topic=MINE), Part(name="a", topic=THINGS)), "the names of its parts clash"),
    ],
)
async def test_what_no_client_could_ask_can_not_be_asked_through_a_composition(
    world: World, claim: Offer, reason: str
) -> None:
    world.present("vault", offer("vault.open.v1", "GET", "/").model_copy(update={"http": None}))
    world.present("pages", claim)
    assert (await world.client.get("/page")).status_code == 404
    refused = (await world.client.get("/services", headers=bearing(world.token(roles=["staff"])))).json()["refused"]
    assert [(claim["claim"], claim["reason"]) for claim in refused] == [("GET /page", reason)]


async def test_a_composition_is_no_part(world: World) -> None:
    inner = page(*BOTH)
    outer = page(Part(name="inner", topic=inner.topic), Part(name="mine", topic=MINE), path="/outer")
    world.present("pages", inner, outer.model_copy(update={"topic": "pages.get-outer.v1"}))
    _, answer = await ask(world, "/outer")
    assert answer["problems"]["inner"]["type"] == "/problems/service-unavailable"


async def test_it_is_documented_from_its_parts(world: World) -> None:
    things = offer(
        "store.find.v1", "GET", "/stored", reply={"title": "Thing", "type": "string"}, refusals=(no_such_thing,)
    )
    field = {"type": "object", "properties": {"id": {"type": "string", "maxLength": 9}}, "required": ["id"]}
    one = offer(
        "store.one.v1", "GET", "/stored/{id}", who="staff", request=field, reply={"title": "One", "type": "integer"}
    )
    world.present("store", things, one)
    parts = Part(name="found", topic="store.find.v1"), Part(name="one", topic="store.one.v1", takes=("id",))
    world.present("pages", page(*parts, Part(name="gone", topic="gone.v1"), path="/pages/{id}"))
    operation = (await world.client.get("/openapi.json")).json()["paths"]["/pages/{id}"]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    refers = "#/components/schemas/"
    assert {name: schema["properties"][name]["anyOf"] for name in ("found", "one", "gone")} == {
        "found": [{"$ref": f"{refers}Thing"}, {"type": "null"}],
        "one": [{"$ref": f"{refers}One"}, {"type": "null"}],
        "gone": [{"type": "null"}],
    }
    assert schema["properties"]["problems"]["properties"]["one"] == {"$ref": f"{refers}Problem"}
    assert schema["required"] == ["found", "one", "gone", "problems"]
    assert operation["parameters"] == [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 9}}
    ]
    assert "404" in operation["responses"]
    assert "403" not in operation["responses"]
