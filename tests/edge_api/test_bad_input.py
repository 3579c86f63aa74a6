"""What clients send that makes no sense, or too much, or too slowly."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge_api import incoming
from tests.edge_api.world import World, offer

JSON = {"content-type": "application/json"}
A_POST = {"type": "http", "method": "POST", "path": "/things", "raw_path": b"/things", "query_string": b""}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("colour=red", "/colour"), ("q=a&q=b", "/q"), ("q=%00", "/q"), ("a%2Fb=1", "/a~1b"), ("=1", "/")],
)
async def test_a_query_field_that_is_unknown_or_there_twice_or_has_nul_is_refused(
    world: World, query: str, pointer: str
) -> None:
    response = await world.client.get(f"/things?{query}")
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")
    assert response.json()["errors"][0]["pointer"] == pointer
    assert world.lane.asked == []


async def test_a_nul_in_the_path_is_refused(world: World) -> None:
    response = await world.client.get("/things/a%00b")
    assert response.status_code == 422
    assert response.json()["errors"] == [{"pointer": "/id", "detail": "a NUL character is not allowed"}]


@pytest.mark.parametrize("url", ["/things/%ff", "/things?q=%ff", "/things?%ff=1", "/things?" + "q=1&" * 101])
async def test_an_address_that_makes_no_sense_is_refused(world: World, url: str) -> None:
    response = await world.client.get(url)
    assert (response.status_code, response.json()["type"]) == (400, "/problems/malformed-url")


@pytest.mark.parametrize("url", [f"/things/{'a' * 8193}", f"/things?q={'a' * 8191}"])
async def test_an_address_that_is_too_long_is_refused(world: World, url: str) -> None:
    response = await world.client.get(url)
    assert (response.status_code, response.json()["type"]) == (414, "/problems/url-too-long")
    assert (await world.client.get("/things?q=" + "a" * 8190)).status_code == 200


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"])
async def test_a_body_must_be_json_by_its_type(world: World, kind: str | None) -> None:
    response = await world.client.post("/things", content=b"{}", headers={"content-type": kind} if kind else {})
    assert (response.status_code, response.json()["type"]) == (415, "/problems/unsupported-media-type")


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"\0"])
async def test_what_json_holds_is_for_the_service_to_judge(world: World, body: bytes) -> None:
    assert (await world.client.post("/things", content=body, headers=JSON)).status_code == 201
    assert world.lane.last.body == body


@pytest.mark.parametrize("name", ["authorization", "content-type", "idempotency-key", "x-signature"])
async def test_a_header_that_means_one_thing_may_be_there_once(world: World, name: str) -> None:
    world.present("hooks", offer("hooks.take.v1", "POST", "/hooks", headers={"x-signature": "signature"}))
    twice = [(name, "application/json"), (name, "application/json")]
    response = await world.client.post("/hooks", content=b"{}", headers=twice)
    assert (response.status_code, response.json()["type"]) == (400, "/problems/repeated-header")
    assert name in response.json()["detail"]
    assert world.lane.count("hooks.take.v1") == 0


async def test_a_header_that_is_a_list_may_be_there_twice(world: World) -> None:
    accepting = [
        ("accept", "text/html"),
        ("accept", "application/json"),
        ("forwarded", "for=a"),
        ("forwarded", "for=b"),
    ]
    assert (await world.client.get("/things/7", headers=accepting)).status_code == 200


async def test_a_body_of_one_mebibyte_passes(world: World) -> None:
    assert (await world.client.post("/things", content=b" " * (1 << 20), headers=JSON)).status_code == 201


async def test_a_larger_body_is_refused(world: World) -> None:
    response = await world.client.post("/things", content=b" " * ((1 << 20) + 1), headers=JSON)
    assert (response.status_code, response.json()["type"]) == (413, "/problems/body-too-large")
    assert world.lane.asked == []


async def test_a_larger_body_without_a_length_is_refused_while_it_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "DISCARD_AT_MOST", 1 << 20)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 16
            yield b" " * (1 << 16)

    response = await world.client.post("/things", content=endless(), headers=JSON)
    assert response.status_code == 413
    assert sent <= (2 << 20) + (3 << 16)


async def test_the_rest_of_a_refused_body_is_not_waited_for_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "DISCARD_PAUSE_SECONDS", 0.05)

    async def stalling() -> AsyncIterator[bytes]:
        yield b" " * ((1 << 20) + 1)
        await asyncio.sleep(30)

    response = await world.client.post("/things", content=stalling(), headers=JSON)
    assert response.status_code == 413


@pytest.mark.parametrize("begun", [[], [b"{"], [b"{", b" "]])
async def test_a_body_that_does_not_arrive_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch, begun: list[bytes]
) -> None:
    monkeypatch.setattr(incoming, "BODY_WITHIN_SECONDS", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        for chunk in begun:
            yield chunk
        await asyncio.sleep(30)
        yield b"}"

    response = await world.client.post("/things", content=slow(), headers=JSON)
    assert (response.status_code, response.json()["type"]) == (408, "/problems/body-too-slow")


async def test_a_body_that_breaks_off_is_refused_and_its_client_counts_as_gone(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await world.app({**A_POST, "headers": []}, receive, send)
    start, answer = sent
    assert (start["status"], json.loads(answer["body"])["type"]) == (400, "/problems/body-incomplete")
    assert world.lane.asked == []
    assert [line["http.response.status_code"] for line in world.lines(capsys)] == [499]


@pytest.mark.parametrize("chunks", [[b"{}"], [b"{", b"}"]])
async def test_a_body_is_complete_when_it_is_as_long_as_it_was_said_to_be(world: World, chunks: list[bytes]) -> None:
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None: ...

    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await world.app({**A_POST, "headers": headers}, receive, send)
    assert world.lane.last.body == b"{}"


@pytest.mark.parametrize(("method", "url"), [("GET", "/nothing"), ("POST", "/nothing/7"), ("OPTIONS", "/nothing")])
async def test_what_is_not_there_is_said_not_to_be_there(world: World, method: str, url: str) -> None:
    response = await world.client.request(method, url)
    assert (response.status_code, response.json()["type"]) == (404, "/problems/no-such-route")
    assert response.json()["instance"] == response.headers["x-request-id"]
