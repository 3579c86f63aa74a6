"""What clients accept."""

import pytest

from edge_api.accepting import MAX_ACCEPT, must_accept
from edge_api.problems import RefusedError
from edge_api.responses import JSON
from tests.edge_api.world import World, offer


def is_accepted(*lines: str, media_type: bytes = JSON) -> bool:
    try:
        must_accept([(b"accept", line.encode("latin-1")) for line in lines], media_type)
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "Application/*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/html, application/json;q=0.1",
        "application/json; charset=utf-8; q=1.0, text/html",
        "text/html;q=0, */*",
        "",
        " , ",
        "*",
        "json",
        "a b c",
        f"text/html;level={'1' * MAX_ACCEPT}",
    ],
)
def test_who_accepts_json_or_says_nothing_that_can_be_read_gets_json(accept: str) -> None:
    assert is_accepted(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/problem+json",
        "application/jsonp",
        "text/*, image/png",
        "application/json;q=0",
        "application/json;q=0.000, */*",
        "*/*;q=0",
        "application/*;q=0, */*",
    ],
)
def test_who_excludes_json_is_refused(accept: str) -> None:
    assert not is_accepted(accept)


def test_several_headers_are_one_list() -> None:
    assert is_accepted("application/json", "text/html")
    assert not is_accepted("image/png", "text/html")


async def test_the_service_is_not_asked_for_what_the_client_does_not_accept(world: World) -> None:
    response = await world.client.get("/things/7", headers={"accept": "text/html"})
    assert (response.status_code, response.json()["type"]) == (406, "/problems/not-acceptable")
    assert response.headers["content-type"] == "application/problem+json"
    assert world.lane.asked == []


@pytest.mark.parametrize("nothing", [{"status": 204}, {"status": 202, "reply": {"type": "null"}}])
async def test_an_answer_without_content_is_acceptable_to_everybody(world: World, nothing: dict[str, object]) -> None:
    world.present("plug", offer("plug.in.v1", "POST", "/plug", **nothing))  # type: ignore[arg-type]
    assert (await world.client.post("/plug", headers={"accept": "text/html"})).is_success


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/openapi.json", "text/html", 406),
        ("/docs", "application/json", 406),
        ("/docs", "text/html,*/*;q=0.8", 200),
        ("/problems/starting", "image/png", 406),
        ("/healthz", "image/png", 200),
    ],
)
async def test_the_platform_s_own_routes_look_too(world: World, path: str, accept: str, status: int) -> None:
    assert (await world.client.get(path, headers={"accept": accept})).status_code == status
