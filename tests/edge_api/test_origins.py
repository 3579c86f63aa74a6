"""Pages of other origins, as their browsers ask for them."""

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest

from edge_api.limits import Rate
from edge_api.origins import Origins
from tests.edge_api.world import World, offer

SHOP, STRANGER = {"origin": "https://shop.example"}, {"origin": "https://evil.example"}
TO_POST = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """An edge that pages of one origin may ask three times a minute."""
    world = World({"address": Rate("address", 3, 60)})
    world.present("shop", offer("shop.add-thing.v1", "POST", "/things", status=201))
    world.app.origins = Origins(world.app, ["https://shop.example"])
    transport = httpx.ASGITransport(world.app.origins)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as world.client:
        yield world


@pytest.mark.parametrize("path", ["/things", "/services", "/nothing"])
async def test_a_page_is_told_what_it_may_ask(world: World, path: str) -> None:
    told = (await world.client.options(path, headers={**SHOP, **TO_POST})).headers
    assert (told["access-control-allow-origin"], told["vary"]) == ("https://shop.example", "Origin")
    assert "POST" in told["access-control-allow-methods"]
    assert "Idempotency-Key" in told["access-control-allow-headers"]
    assert told["access-control-max-age"] == "600"


async def test_a_preflight_has_an_id_a_line_and_a_limit_like_any_request(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [await world.client.options("/things", headers={**SHOP, **TO_POST}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [204, 204, 204, 429]
    assert UUID(answers[0].headers["x-request-id"]).version == 7
    assert answers[0].headers["ratelimit"].startswith('"address";r=2')
    lines = world.lines(capsys)
    assert [(line["http.request.method"], line["http.response.status_code"]) for line in lines] == [
        ("OPTIONS", answer.status_code) for answer in answers
    ]
    assert [line["http.request.id"] for line in lines] == [answer.headers["x-request-id"] for answer in answers]


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({**STRANGER, **TO_POST}, "origin"),
        ({**SHOP, "access-control-request-method": "TRACE"}, "method"),
        ({**SHOP, **TO_POST, "access-control-request-headers": "x-forwarded-for"}, "headers"),
    ],
)
async def test_what_a_page_may_not_ask_is_named(world: World, asked: dict[str, str], wrong: str) -> None:
    answer = await world.client.options("/things", headers=asked)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/cross-origin-refused")
    assert answer.json()["detail"].endswith(wrong)
    assert "access-control-allow-methods" not in answer.headers


async def test_only_pages_of_the_named_origins_can_read_answers(world: World) -> None:
    welcome = await world.client.post("/things", headers=SHOP)
    assert (welcome.status_code, welcome.headers["access-control-allow-origin"]) == (201, "https://shop.example")
    assert "X-Request-Id" in welcome.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in (await world.client.post("/things", headers=STRANGER)).headers


async def test_who_asks_what_is_allowed_is_counted_too(world: World) -> None:
    assert [(await world.client.options("/things")).status_code for _ in range(4)] == [204, 204, 204, 429]
