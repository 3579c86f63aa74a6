"""What the edge answers by itself."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts.base import refusal
from contracts.presence import Beat
from tests.edge_api.world import World, bearing, offer

thing_taken = refusal("thing-taken", 409, "There is such a thing already.")


async def test_it_is_alive_whatever_is_missing(world: World) -> None:
    world.is_up = world.is_known = False
    response = await world.client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


async def test_it_is_ready_when_nothing_is_missing(world: World) -> None:
    response = await world.client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "missing": []})


async def test_when_not_ready_it_says_what_is_missing(world: World) -> None:
    world.is_up = False
    response = await world.client.get("/readyz")
    assert (response.status_code, response.json()["missing"]) == (503, ["broker"])


ALL = ["/healthz", "/readyz", "/openapi.json", "/asyncapi.json", "/docs", "/services", "/problems/starting"]


@pytest.mark.parametrize("path", ALL)
async def test_every_response_carries_an_id_of_its_own(world: World, path: str) -> None:
    ids = {(await world.client.get(path)).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize("path", ["/healthz", "/problems/starting"])
async def test_head_options_and_other_methods(world: World, path: str) -> None:
    head = await world.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    options = await world.client.options(path)
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    post = await world.client.post(path)
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert post.json()["type"] == "/problems/method-not-allowed"


async def test_a_service_can_not_take_a_platform_route(world: World) -> None:
    world.present("rogue", offer("rogue.health.v1", "GET", "/healthz"))
    assert (await world.client.get("/healthz")).json() == {"status": "alive"}
    assert world.lane.asked == []
    claims = (await roster(world))["refused"]
    told = [(claim["service"], claim["claim"], claim["reason"]) for claim in claims]
    assert told == [("rogue", "GET /healthz", "the path is held by the platform")]


async def test_the_services_are_for_staff(world: World) -> None:
    assert (await world.client.get("/services")).status_code == 401
    assert (await world.client.get("/services", headers=bearing("rubbish"))).status_code == 401
    assert (await world.client.get("/services", headers=bearing(world.token()))).status_code == 403


async def roster(world: World) -> Any:
    response = await world.client.get("/services", headers=bearing(world.token(roles=["staff"])))
    assert response.status_code == 200
    return response.json()


async def test_the_services_are_listed_with_their_instances(world: World) -> None:
    shop = world.registry.services["shop"]
    beat = Beat(instance=world.instances["shop"], service="shop", digest=shop.manifest.digest, load=3, consumed=(1,))
    world.registry.beat(beat, login="shop", now=shop.instances[beat.instance].last_seen)
    world.leave("accounts")
    world.lane.answers.clear()
    world.present("accounts", *world.registry.services["accounts"].offers)
    world.publish_keys(world.signing_key)
    listed = {service["name"]: service for service in (await roster(world))["services"]}
    assert set(listed) == {"accounts", "shop"}
    assert (listed["shop"]["state"], listed["shop"]["version"], listed["shop"]["versions"]) == ("present", "1", ["1"])
    (instance,) = listed["shop"]["instances"]
    assert (instance["load"], instance["state"]) == (3, "present")
    assert instance["seconds_since_consumed"] == {"shop.requests": 1}
    operation = listed["shop"]["operations"][0]
    assert operation == {
        "topic": "shop.get-thing.v1",
        "kind": "query",
        "route": "GET /things/{id}",
        "who": "anyone",
        "roles": [],
    }


async def test_a_service_that_is_away_stays_listed(world: World) -> None:
    world.leave("shop")
    listed = {service["name"]: service for service in (await roster(world))["services"]}
    assert (listed["shop"]["state"], listed["shop"]["instances"]) == ("away", [])


async def test_refused_claims_are_shown(world: World) -> None:
    world.present("rogue", offer("rogue.steal.v1", "GET", "/things/{id}"), offer("shop.steal.v1", "GET", "/mine2"))
    claims = {(claim["claim"], claim["reason"]) for claim in (await roster(world))["refused"]}
    assert ("GET /things/{id}", "the path is held by shop") in claims
    assert ("shop.steal.v1", "the operation belongs to another service") in claims


async def test_a_problem_explains_itself(world: World) -> None:
    world.present("plug", offer("plug.in.v1", "POST", "/plug", refusals=(thing_taken,)))
    response = await world.client.get("/problems/thing-taken")
    assert response.json() == {"slug": "thing-taken", "title": "There is such a thing already.", "status": 409}
    assert (await world.client.get("/problems/body-too-large")).json()["status"] == 413
    assert (await world.client.get("/problems/nonsense")).json()["type"] == "/problems/no-such-problem"


@pytest.mark.parametrize("path", ["/problems/", "/problems/a/b"])
async def test_what_the_platform_has_not_is_not_there(world: World, path: str) -> None:
    response = await world.client.get(path)
    assert (response.status_code, response.json()["type"]) == (404, "/problems/no-such-route")


async def test_a_defect_here_is_logged_once_too(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edge_api.platform_routes.roster.page", lambda _: 1 / 0)
    with capture_logs() as logs:
        response = await world.client.get("/services", headers=bearing(world.token(roles=["staff"])))
    assert (response.status_code, response.json()["type"]) == (500, "/problems/internal-error")
    assert [entry["event"] for entry in logs] == ["a request failed"]
    assert [line["http.response.status_code"] for line in world.lines(capsys)] == [500]
