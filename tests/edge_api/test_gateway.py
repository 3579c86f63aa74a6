"""From HTTP to a message and back."""

import json
import re
import time
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from broker.lane import (
    Answer,
    ConnectionLostError,
    DeadlinePassedError,
    NobodyThereError,
    OverloadedError,
    refuse,
)
from broker.reconnecting import BrokerAwayError, LoginRefusedError
from contracts.base import FieldError, Refusal, refusal
from tests.edge_api.world import World, offer

thing_taken = refusal("thing-taken", 409, "There is such a thing already.")
JSON = {"content-type": "application/json"}


async def test_the_answer_is_passed_on_as_it_is(world: World) -> None:
    world.lane.answers["shop.get-thing.v1"] = Answer(b'{"id":  "7"}')
    response = await world.client.get("/things/7")
    assert (response.status_code, response.content) == (200, b'{"id":  "7"}')
    assert response.headers["content-type"] == "application/json"


async def test_the_body_is_passed_on_as_it_is(world: World) -> None:
    body = b' {"name": "n\\u0061me"} '
    response = await world.client.post(
        "/things", content=body, headers={"content-type": "Application/JSON; charset=utf-8"}
    )
    assert response.status_code == 201
    assert world.lane.last.body == body


async def test_a_raw_body_is_one_field_to_the_byte_whatever_its_type(world: World) -> None:
    signed = offer("hooks.take.v1", "POST", "/hooks/{of}", headers={"x-signature": "signature"}, raw="body")
    world.present("hooks", signed)
    body = '{"b" : 1,\r\n "a":"caf\u00e9 \\u00e9"}\n'.encode()
    for content_type in ("application/json; charset=utf-8", "text/plain", ""):
        headers = {"X-Signature": "t=1,v1=ab", "content-type": content_type}
        assert (await world.client.post("/hooks/bank", content=body, headers=headers)).is_success
        assert json.loads(world.lane.last.body)["body"].encode() == body
        assert world.lane.last.params == {"of": "bank", "signature": "t=1,v1=ab"}
    await world.client.post("/hooks/bank")
    assert (json.loads(world.lane.last.body), world.lane.last.params) == ({"body": ""}, {"of": "bank"})


@pytest.mark.parametrize(
    ("body", "signature", "slug"), [(b"\xff", "s", "not-text"), (b"{}", "s" * 5000, "invalid-request")]
)
async def test_a_raw_body_that_is_no_text_or_too_long_a_header_is_refused(
    world: World, body: bytes, signature: str, slug: str
) -> None:
    world.present("hooks", offer("hooks.take.v1", "POST", "/hooks", headers={"x-signature": "signature"}, raw="body"))
    response = await world.client.post("/hooks", content=body, headers={"x-signature": signature})
    assert response.json()["type"] == f"/problems/{slug}"
    assert world.lane.asked == []


async def test_path_and_query_become_parameters(world: World) -> None:
    await world.client.get("/things?q=caf%C3%A9+noir&limit=")
    assert world.lane.last.params == {"q": "café noir", "limit": ""}
    await world.client.get("/things/a%2Fb")
    assert world.lane.last.params == {"id": "a/b"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_body_where_none_belongs_means_nothing(world: World, method: str) -> None:
    response = await world.client.request(method, "/things/7", content=b"\xff" * 10)
    assert response.status_code in (200, 204)
    assert world.lane.last.body == b"{}"


async def test_no_body_is_an_object_without_fields(world: World) -> None:
    await world.client.post("/things", headers=JSON)
    assert world.lane.last.body == b"{}"


async def test_the_deadline_is_five_seconds_away(world: World) -> None:
    await world.client.get("/things/7")
    assert world.lane.last.deadline == pytest.approx(time.time() + 5, abs=1)


@pytest.mark.parametrize("within", [0.5, 20])
async def test_the_deadline_is_as_far_away_as_the_route_says(world: World, within: float) -> None:
    world.present("slow", offer("slow.work.v1", "POST", "/work", wait="wait_seconds", within=within))
    await world.client.post("/work", headers=JSON)
    assert world.lane.last.deadline == pytest.approx(time.time() + within, abs=1)
    await world.client.post("/work", headers={**JSON, "prefer": "wait=7"})
    assert world.lane.last.deadline == pytest.approx(time.time() + within + 7, abs=1)


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=7", 7),
        ("respond-async, wait=3", 3),
        ("wait=99", 30),
        ("wait=soon", 0),
        ("await=9", 0),
        ("return=minimal", 0),
    ],
)
async def test_who_prefers_to_wait_is_waited_for(world: World, prefer: str, seconds: int) -> None:
    world.present("slow", offer("slow.work.v1", "POST", "/work", wait="wait_seconds"))
    await world.client.post("/work", headers={**JSON, "prefer": prefer})
    assert world.lane.last.params == ({"wait_seconds": str(seconds)} if seconds else {})
    assert world.lane.last.deadline == pytest.approx(time.time() + 5 + seconds, abs=1)


async def test_the_request_id_is_the_platforms_own(world: World) -> None:
    response = await world.client.get("/things/7", headers={"x-request-id": "mine"})
    request_id = world.lane.last.request_id
    assert UUID(request_id).version == 7
    assert response.headers["x-request-id"] == request_id


async def test_the_idempotency_key_goes_with_writes(world: World) -> None:
    key = {"idempotency-key": "k" * 255}
    await world.client.post("/things", headers=key)
    assert world.lane.last.idempotency_key == "k" * 255
    await world.client.get("/things/7", headers=key)
    assert world.lane.last.idempotency_key is None


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb", "\u00e9"])
async def test_a_bad_idempotency_key_is_refused(world: World, key: str) -> None:
    response = await world.client.post("/things", headers={b"idempotency-key": key.encode()})
    assert (response.status_code, response.json()["type"]) == (400, "/problems/bad-idempotency-key")


async def test_a_trace_goes_on(world: World) -> None:
    mine = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await world.client.get("/things/7", headers={"traceparent": mine})
    assert world.lane.last.traceparent == mine


@pytest.mark.parametrize(
    "theirs", ["", "x", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "ff-" + "1" * 32 + "-" + "1" * 16 + "-01"]
)
async def test_a_trace_begins_where_there_is_no_good_one(world: World, theirs: str) -> None:
    await world.client.get("/things/7", headers={"traceparent": theirs})
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", world.lane.last.traceparent or "")


async def test_a_reply_without_content_has_no_body(world: World) -> None:
    world.lane.answers["shop.end-thing.v1"] = Answer(b"null")
    response = await world.client.delete("/things/7")
    assert (response.status_code, response.content) == (204, b"")
    assert "content-length" not in response.headers
    assert "content-type" not in response.headers


async def test_an_accepted_order_without_content_has_an_empty_body(world: World) -> None:
    world.present("later", offer("later.do.v1", "POST", "/later", status=202))
    world.lane.answers["later.do.v1"] = Answer(b"null")
    response = await world.client.post("/later")
    assert (response.status_code, response.content, response.headers["content-length"]) == (202, b"", "0")


async def test_head_has_the_headers_of_get_and_no_body(world: World) -> None:
    world.lane.answers["shop.get-thing.v1"] = Answer(b'{"id":"7"}')
    response = await world.client.head("/things/7")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == "10"


async def test_options_says_what_is_allowed(world: World) -> None:
    response = await world.client.options("/things")
    assert (response.status_code, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    assert world.lane.asked == []


async def test_a_refusal_becomes_a_problem(world: World) -> None:
    error = FieldError(pointer="/name", detail="too long")
    world.lane.answers["shop.add-thing.v1"] = refuse(thing_taken("No.", error))
    response = await world.client.post("/things")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == 409
    assert response.json() == {
        "type": "/problems/thing-taken",
        "title": "There is such a thing already.",
        "status": 409,
        "detail": "No.",
        "instance": response.headers["x-request-id"],
        "errors": [{"pointer": "/name", "detail": "too long"}],
    }


async def test_a_refusal_for_want_of_credentials_names_the_scheme(world: World) -> None:
    world.lane.answers["shop.add-thing.v1"] = refuse(
        Refusal(slug="bad-credentials", status=401, title="No", detail="No")
    )
    response = await world.client.post("/things")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    "body", [b"not json", b"{}", b'{"slug": "fine", "status": 200, "title": "x", "detail": "x"}', b"\xff"]
)
async def test_a_refusal_that_makes_no_sense_is_a_bad_answer(world: World, body: bytes) -> None:
    world.lane.answers["shop.get-thing.v1"] = Answer(body, refused=True)
    response = await world.client.get("/things/7")
    assert (response.status_code, response.json()["type"]) == (502, "/problems/bad-answer")


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (NobodyThereError("x"), 503, "service-unavailable"),
        (DeadlinePassedError("x"), 504, "deadline-passed"),
        (BrokerAwayError("x"), 503, "broker-away"),
        (ConnectionLostError("x"), 503, "broker-away"),
        (LoginRefusedError("x"), 503, "broker-away"),
        (OverloadedError("x"), 503, "overloaded"),
    ],
)
async def test_no_answer_has_a_status_of_its_own(world: World, error: Exception, status: int, slug: str) -> None:
    world.lane.answers["shop.get-thing.v1"] = error
    response = await world.client.get("/things/7")
    assert (response.status_code, response.json()["type"]) == (status, f"/problems/{slug}")
    assert response.headers["retry-after"] == "1"


async def test_a_service_that_is_away_is_not_asked_until_it_is_back(world: World) -> None:
    world.leave("shop")
    response = await world.client.get("/things/7")
    assert (response.status_code, response.json()["type"]) == (503, "/problems/service-unavailable")
    assert response.headers["retry-after"] == "1"
    assert world.lane.asked == []
    world.present("shop", *world.registry.services["shop"].offers)
    assert (await world.client.get("/things/7")).status_code == 200


async def test_a_new_services_routes_appear(world: World) -> None:
    assert (await world.client.get("/plug")).status_code == 404
    world.present("plug", offer("plug.in.v1", "GET", "/plug"))
    assert (await world.client.get("/plug")).status_code == 200


async def test_a_new_version_brings_and_takes_routes(world: World) -> None:
    world.present("plug", offer("plug.old.v1", "GET", "/old"))
    world.present("plug", offer("plug.new.v1", "GET", "/new"), version="2")
    assert (await world.client.get("/old")).status_code == 404
    assert (await world.client.get("/new")).status_code == 200


async def test_before_the_services_are_known_nothing_is_said_not_to_be_there(world: World) -> None:
    world.is_known = False
    response = await world.client.get("/plug")
    assert (response.status_code, response.json()["type"]) == (503, "/problems/starting")
    assert (await world.client.get("/things/7")).status_code == 200


async def test_a_defect_is_logged_once_and_tells_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.lane.answers["shop.get-thing.v1"] = ZeroDivisionError("the secret")
    with capture_logs() as logs:
        response = await world.client.get("/things/7")
    assert (response.status_code, response.json()["type"]) == (500, "/problems/internal-error")
    assert "secret" not in response.text
    assert [entry["event"] for entry in logs] == ["a request failed"]
    assert [line["http.response.status_code"] for line in world.lines(capsys)] == [500]
