"""Who asks, and who may."""

import asyncio
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64decode

from broker.lane import Answer, DeadlinePassedError, Request, refuse
from contracts.base import request_failed
from edge_api import authentication, keys, remembered
from edge_api.routing import Routes
from tests.edge_api.world import KEYS_TOPIC, World, bearing


async def status(world: World, token: str, path: str = "/mine") -> tuple[int, str]:
    response = await world.client.get(path, headers=bearing(token))
    return response.status_code, response.json().get("type", "").removeprefix("/problems/")


async def test_the_caller_is_who_the_token_says(world: World) -> None:
    user, session = uuid4(), uuid4()
    token = world.token(sub=str(user), sid=str(session), roles=["staff", "baker"])
    assert (await status(world, token))[0] == 200
    caller = world.lane.last.caller
    assert (caller.id, caller.session, caller.roles) == (user, session, frozenset({"staff", "baker"}))


async def test_without_a_token_the_caller_is_nobody(world: World) -> None:
    await world.client.get("/things/7")
    assert world.lane.last.caller.id is None


async def test_a_route_for_users_needs_a_token(world: World) -> None:
    response = await world.client.get("/mine")
    assert (response.status_code, response.json()["type"]) == (401, "/problems/unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_route_for_staff_needs_the_role(world: World) -> None:
    assert (await world.client.get("/books")).status_code == 401
    assert await status(world, world.token(roles=["baker"]), "/books") == (403, "forbidden")
    assert (await status(world, world.token(roles=["staff"]), "/books"))[0] == 200


async def test_a_route_for_a_role_is_for_nobody_else_not_even_staff(world: World) -> None:
    assert (await world.client.get("/oven")).status_code == 401
    assert await status(world, world.token(roles=["staff"]), "/oven") == (403, "forbidden")
    assert (await status(world, world.token(roles=["customer", "cook"]), "/oven"))[0] == 200


def unsigned(world: World) -> str:
    return forged(world, {"alg": "none"}, b"")


def signed_with_the_public_key(world: World) -> str:
    """By hand: libraries for honest people refuse to do it."""
    head = forged(world, {"alg": "HS256"}, b"").rpartition(".")[0]
    public = world.signing_key.as_pem(private=False)
    return f"{head}.{_encoded(hmac.digest(public, head.encode(), 'sha256'))}"


def forged(world: World, header: dict[str, Any], signature: bytes) -> str:
    full = {"typ": "at+jwt", "kid": "first", **header}
    return ".".join(
        _encoded(part) for part in (json.dumps(full).encode(), json.dumps(_claims(world)).encode(), signature)
    )


def altered(world: World) -> str:
    head, _, signature = world.token().split(".")
    return f"{head}.{_encoded(json.dumps(_claims(world, roles=['staff'])).encode())}.{signature}"


def of_another_signer(world: World) -> str:
    return world.token(key=ECKey.generate_key("P-256", {"kid": "first"}))


def with_a_key_of_its_own(world: World) -> str:
    key = ECKey.generate_key("P-256", {"kid": "first"})
    return world.token(key=key, header={"jwk": key.as_dict(private=False)})


def whose_key_is_elsewhere(world: World, header: str) -> str:
    """Signed by a key that the header says where to fetch."""
    key = ECKey.generate_key("P-256", {"kid": "theirs"})
    return world.token(key=key, header={header: "http://127.0.0.1:1/keys.json"})


def with_a_certificate_of_its_own(world: World) -> str:
    key = ECKey.generate_key("P-256", {"kid": "first"})
    return world.token(key=key, header={"x5c": [_encoded(key.as_der(private=False))]})


def signed_otherwise(world: World, signature: bytes) -> str:
    return f"{world.token().rpartition('.')[0]}.{_encoded(signature)}"


def with_another_signature(world: World) -> str:
    """That of another token of the same user."""
    user = str(uuid4())
    return f"{world.token(sub=user).rpartition('.')[0]}.{world.token(sub=user).rpartition('.')[2]}"


def _claims(world: World, **claims: Any) -> dict[str, Any]:
    payload = world.token(**claims).split(".")[1]
    return dict(json.loads(urlsafe_b64decode(payload.encode())))


def _encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


FORGERIES: dict[str, Callable[[World], str]] = {
    "alg none": unsigned,
    "alg None": lambda world: forged(world, {"alg": "None"}, b""),
    "HS256 with the public key": signed_with_the_public_key,
    "HS256 with a word": lambda world: forged(world, {"alg": "HS256"}, b"secret"),
    "another curve's algorithm": lambda world: forged(world, {"alg": "ES384"}, b"\1" * 96),
    "RS256": lambda world: forged(world, {"alg": "RS256"}, b"\1" * 256),
    "es256": lambda world: forged(world, {"alg": "es256"}, b"\1" * 64),
    "an algorithm that is no word": lambda world: forged(world, {"alg": ["ES256"]}, b"\1" * 64),
    "a signature of zeros": lambda world: signed_otherwise(world, b"\0" * 64),
    "a signature in DER": lambda world: signed_otherwise(world, bytes.fromhex("3006020101020101")),
    "a signature that is cut off": lambda world: world.token()[:-4],
    "another token's signature": with_another_signature,
    "altered claims": altered,
    "another signer": of_another_signer,
    "no signature": lambda world: world.token().rpartition(".")[0] + ".",
    "another type": lambda world: world.token(header={"typ": "JWT"}),
    "no type": lambda world: world.token(header={"typ": ""}),
    "another issuer": lambda world: world.token(iss="somebody"),
    "no issuer": lambda world: world.token(without="iss"),
    "another audience": lambda world: world.token(aud="somebody"),
    "no audience": lambda world: world.token(without="aud"),
    "expired": lambda world: world.token(exp=int(time.time()) - 10),
    "never expires": lambda world: world.token(without="exp"),
    "expires in words": lambda world: world.token(exp="tomorrow"),
    "not valid yet": lambda world: world.token(nbf=int(time.time()) + 60),
    "issued in ten minutes": lambda world: world.token(iat=int(time.time()) + 600, exp=int(time.time()) + 1200),
    "issued at no time": lambda world: world.token(without="iat"),
    "lives too long": lambda world: world.token(exp=int(time.time()) + 3600),
    "a generation in words": lambda world: world.token(gen="first"),
    "no id": lambda world: world.token(without="jti"),
    "a critical header that nobody knows": lambda world: forged(world, {"crit": ["b64"], "b64": False}, b""),
    "no subject": lambda world: world.token(without="sub"),
    "a subject that is no id": lambda world: world.token(sub="admin"),
    "no session": lambda world: world.token(without="sid"),
    "no roles": lambda world: world.token(without="roles"),
    "roles as a word": lambda world: world.token(roles="staff"),
    "an unknown key": lambda world: world.token(header={"kid": "second"}),
    "a key of its own": with_a_key_of_its_own,
    "a certificate of its own": with_a_certificate_of_its_own,
    "a key that is elsewhere": lambda world: whose_key_is_elsewhere(world, "jku"),
    "a certificate that is elsewhere": lambda world: whose_key_is_elsewhere(world, "x5u"),
    "a key that is a file": lambda world: world.token(header={"kid": "../../../../dev/null"}),
    "a key that is a statement": lambda world: world.token(header={"kid": "first' OR '1'='1"}),
    "a key without a name": lambda world: world.token(header={"kid": ""}),
    "a key that is no word": lambda world: forged(world, {"kid": {"first": 1}}, b"\1" * 64),
    "issued in words": lambda world: world.token(iat="now"),
    "expires at no number": lambda world: world.token(exp=float("nan")),
    "encrypted": lambda world: f"{world.token()}.e30.e30",
    "claims no object": lambda world: f"{world.token().split('.')[0]}.{_encoded(b'[1]')}.{_encoded(b'1' * 64)}",
    "in JSON": lambda world: json.dumps({"payload": world.token().split(".")[1], "signatures": []}),
    "nothing": lambda world: "",
    "rubbish": lambda world: "rubbish",
    "two parts": lambda world: "a.b",
    "header no object": lambda world: _encoded(b'["alg"]') + ".e30.e30",
    "header nested without end": lambda world: _encoded(b"[" * 2900) + ".e30.e30",
    "header not UTF-8": lambda world: _encoded(b"\xff\xfe") + ".e30.e30",
    "very long": lambda world: "a" * 5000,
    "two tokens": lambda world: world.token() + " " + world.token(),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_bad_token_is_refused_wherever_it_is_sent(world: World, forgery: str) -> None:
    token = FORGERIES[forgery](world)
    for path in ("/mine", "/things/7"):
        response = await world.client.get(path, headers=bearing(token))
        assert (response.status_code, response.json()["type"]) == (401, "/problems/unauthenticated")
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert world.lane.count("shop.get-mine.v1") == world.lane.count("shop.get-thing.v1") == 0


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c"])
async def test_what_a_token_says_of_its_keys_is_not_looked_at(world: World, header: str) -> None:
    stranger = ECKey.generate_key("P-256", {"kid": "first"})
    named = {
        "jku": "http://127.0.0.1:1/keys.json",
        "x5u": "http://127.0.0.1:1/certificate.pem",
        "jwk": stranger.as_dict(private=False),
        "x5c": [_encoded(stranger.as_der(private=False))],
    }
    assert (await status(world, world.token(header={header: named[header]})))[0] == 200


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "token", ""])
async def test_another_scheme_is_refused(world: World, value: str) -> None:
    assert (await world.client.get("/things/7", headers={"authorization": value})).status_code == 401


async def test_one_of_several_audiences_will_do(world: World) -> None:
    assert (await status(world, world.token(aud=["other", "hedgerow"])))[0] == 200


async def test_clocks_may_differ_a_little(world: World) -> None:
    assert (await status(world, world.token(exp=int(time.time()) - 2)))[0] == 200


async def test_scheme_and_type_are_read_without_regard_to_case(world: World) -> None:
    token = world.token(header={"typ": "application/AT+JWT"})
    assert (await world.client.get("/mine", headers={"authorization": f"bearer  {token}"})).status_code == 200


async def test_a_token_is_verified_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = world.token()
    await status(world, token)
    monkeypatch.setattr(authentication, "verified_claims", _must_not_be_called)
    assert (await status(world, token))[0] == 200


async def test_a_remembered_token_expires(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = world.token(exp=int(time.time()) + 1)
    assert (await status(world, token))[0] == 200
    later = time.time() + 20
    monkeypatch.setattr(time, "time", lambda: later)
    assert (await status(world, token))[0] == 401


async def test_no_more_tokens_are_remembered_than_fit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 2)
    for _ in range(5):
        await status(world, world.token())
    assert len(world.authenticator.remembered) == 2


async def test_the_keys_are_asked_for_once(world: World) -> None:
    await asyncio.gather(*(status(world, world.token()) for _ in range(20)))
    assert world.lane.count(KEYS_TOPIC) == 1


async def test_an_unknown_key_is_looked_up_at_most_once_a_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await status(world, world.token())
    second = ECKey.generate_key("P-256", {"kid": "second"})
    world.publish_keys(world.signing_key, second)
    assert (await status(world, world.token(key=second)))[0] == 401
    assert world.lane.count(KEYS_TOPIC) == 1
    monkeypatch.setattr(keys, "NOT_MORE_OFTEN_THAN", 0.0)
    assert (await status(world, world.token(key=second)))[0] == 200
    assert world.lane.count(KEYS_TOPIC) == 2


async def test_a_retired_key_is_honoured_as_long_as_it_is_published(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "NOT_MORE_OFTEN_THAN", 0.0)
    old, second = world.token(), ECKey.generate_key("P-256", {"kid": "second"})
    world.publish_keys(second, world.signing_key)
    assert (await status(world, world.token(key=second)))[0] == 200
    assert (await status(world, old))[0] == 200


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_an_edge_whose_clock_is_ten_minutes_off_refuses_rather_than_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    token, now = world.token(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60 * minutes + minutes)
    assert await status(world, token) == (401, "unauthenticated")
    assert (await world.client.get("/things/7")).status_code == 200


async def test_a_key_that_was_withdrawn_takes_its_tokens_with_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old, second = world.token(), ECKey.generate_key("P-256", {"kid": "second"})
    assert (await status(world, old))[0] == 200
    world.publish_keys(second)
    monkeypatch.setattr(keys, "NOT_MORE_OFTEN_THAN", 0.0)
    assert (await status(world, world.token(key=second)))[0] == 200
    assert (await status(world, old))[0] == 401


@pytest.mark.parametrize(
    "answer",
    [
        DeadlinePassedError("x"),
        refuse(request_failed()),
        Answer(b"rubbish"),
        Answer(b'{"keys": []}'),
        Answer(b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "first"}]}'),
        Answer(b'{"keys": [{"kty": "EC", "crv": "P-256", "kid": "first", "x": "AA", "y": "AA"}]}'),
    ],
)
async def test_without_keys_a_token_can_not_be_judged(world: World, answer: Answer | Exception) -> None:
    world.lane.answers[KEYS_TOPIC] = answer
    assert await status(world, world.token()) == (503, "keys-unavailable")
    assert (await world.client.get("/things/7")).status_code == 200


async def test_while_who_has_the_keys_is_away_nobody_is_asked(world: World) -> None:
    world.leave("accounts")
    response = await world.client.get("/mine", headers=bearing(world.token()))
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert world.lane.asked == []


async def test_known_keys_outlive_who_gave_them(world: World) -> None:
    await status(world, world.token())
    world.leave("accounts")
    assert (await status(world, world.token()))[0] == 200


async def test_the_operator_can_say_whose_keys_count(world: World) -> None:
    routes = Routes(world.registry, is_reserved=lambda path: False)
    assert keys.keys_target(routes, login="accounts") is not None
    assert keys.keys_target(routes, login="users") is None


async def test_a_question_for_keys_goes_on_when_its_first_waiter_leaves(world: World) -> None:
    asked = asyncio.Event()

    async def slowly(request: Request) -> Answer:
        asked.set()
        await asyncio.sleep(0.05)
        return Answer(json.dumps({"keys": [world.signing_key.as_dict(private=False)]}).encode())

    world.lane.answers[KEYS_TOPIC] = slowly
    first = asyncio.create_task(world.keys.key("first"))
    await asked.wait()
    second = asyncio.create_task(world.keys.key("first"))
    first.cancel()
    assert await second is not None
    assert world.lane.count(KEYS_TOPIC) == 1


def _must_not_be_called(*_: object) -> None:
    raise AssertionError("verified again")
