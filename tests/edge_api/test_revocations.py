"""Tokens that are void before they expire."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from broker.lane import Answer, NobodyThereError, refuse
from broker.lane.wire.frames import Delivery
from contracts.base import request_failed
from contracts.tokens import GET_REVOCATIONS, JWKS_PATH, REVOKED, Revocation, Revocations
from edge_api import revocations
from edge_api.revocations import Listener
from edge_api.routing import Routes
from tests.edge_api.world import KEYS_TOPIC, World, bearing, offer
from tests.support.eventually import eventually

TOPIC = f"accounts.{GET_REVOCATIONS}"
USER, SESSION = uuid4(), uuid4()


async def status(world: World, token: str) -> int:
    return (await world.client.get("/mine", headers=bearing(token))).status_code


def token_of(world: World, user: UUID = USER, session: UUID = SESSION, generation: int = 0) -> str:
    return world.token(sub=str(user), sid=str(session), gen=generation)


async def are_known(world: World) -> bool:
    return world.revocations.are_known


async def asked_often(world: World) -> bool:
    return world.lane.count(TOPIC) > 2


@asynccontextmanager
async def keeping_current(world: World) -> AsyncIterator[None]:
    task = asyncio.create_task(world.revocations.keep_current_forever())
    try:
        yield
    finally:
        task.cancel()


def issue(world: World, answer: Answer | Exception) -> None:
    """Have tokens issued by a service that can revoke them."""
    world.revocations.are_known = False
    world.lane.answers[TOPIC] = answer
    world.present(
        "accounts",
        offer(KEYS_TOPIC, "GET", JWKS_PATH),
        offer(TOPIC, "GET", "/revocations").model_copy(update={"http": None}),
        version="2",
    )


async def test_a_session_that_ended_takes_its_remembered_tokens_along(world: World) -> None:
    token, elsewhere = token_of(world), token_of(world, session=uuid4())
    assert (await status(world, token), await status(world, elsewhere)) == (200, 200)
    world.revocations.hear(Revocation(user_id=USER, session=SESSION))
    assert (await status(world, token), await status(world, elsewhere)) == (401, 200)


async def test_a_generation_that_ended_takes_all_sessions_along_but_not_what_follows(world: World) -> None:
    tokens = [token_of(world), token_of(world, session=uuid4())]
    stranger = token_of(world, user=uuid4())
    assert [await status(world, token) for token in (*tokens, stranger)] == [200, 200, 200]
    world.revocations.hear(Revocation(user_id=USER, generation=1))
    assert [await status(world, token) for token in (*tokens, stranger)] == [401, 401, 200]
    assert await status(world, token_of(world, generation=1)) == 200


async def test_a_token_that_was_never_seen_before_its_revocation_is_refused(world: World) -> None:
    world.revocations.hear(Revocation(user_id=USER, session=SESSION))
    assert await status(world, token_of(world)) == 401


async def test_an_older_generation_does_not_bring_a_newer_one_back(world: World) -> None:
    for generation in (3, 2):
        world.revocations.hear(Revocation(user_id=USER, generation=generation))
    assert await status(world, token_of(world, generation=2)) == 401


async def test_revocations_are_forgotten_once_their_tokens_have_expired(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.revocations.hear(Revocation(user_id=USER, session=SESSION))
    later = time.monotonic() + revocations.KEPT_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    world.revocations.hear(Revocation(user_id=uuid4(), session=uuid4()))
    assert len(world.revocations._sessions) == 1


async def test_what_was_revoked_before_it_started_is_asked_for(world: World) -> None:
    gone = uuid4()
    issue(world, Answer(Revocations(sessions=(SESSION,), generations={gone: 2}).model_dump_json().encode()))
    async with keeping_current(world):
        await eventually(lambda: are_known(world))
    assert await status(world, token_of(world)) == 401
    assert await status(world, token_of(world, user=gone, session=uuid4(), generation=1)) == 401
    assert await status(world, token_of(world, user=gone, session=uuid4(), generation=2)) == 200


@pytest.mark.parametrize("answer", [NobodyThereError("x"), refuse(request_failed()), Answer(b"rubbish")])
async def test_before_it_knows_what_was_revoked_no_token_passes(
    world: World, monkeypatch: pytest.MonkeyPatch, answer: Answer | Exception
) -> None:
    monkeypatch.setattr(revocations, "TRY_AGAIN_AFTER", 0.01)
    issue(world, answer)
    async with keeping_current(world):
        await eventually(lambda: asked_often(world))
        response = await world.client.get("/mine", headers=bearing(token_of(world)))
        assert (response.status_code, response.json()["type"]) == (503, "/problems/revocations-unavailable")
        assert (await world.client.get("/things/7")).status_code == 200
        world.lane.answers[TOPIC] = Answer(b"{}")
        await eventually(lambda: are_known(world))
    assert await status(world, token_of(world)) == 200


async def test_what_was_missed_is_asked_for_again_and_meanwhile_known_tokens_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "TRY_AGAIN_AFTER", 0.01)
    issue(world, Answer(b"{}"))
    async with keeping_current(world):
        await eventually(lambda: are_known(world))
        world.lane.answers[TOPIC] = NobodyThereError("x")
        world.revocations.ask_again()
        await eventually(lambda: asked_often(world))
        assert await status(world, token_of(world)) == 200
        world.lane.answers[TOPIC] = Answer(Revocations(sessions=(SESSION,)).model_dump_json().encode())

        async def is_refused() -> bool:
            return await status(world, token_of(world)) == 401

        await eventually(is_refused)


async def test_who_can_not_revoke_tokens_is_not_asked(world: World) -> None:
    world.revocations.are_known = False
    async with keeping_current(world):
        await eventually(lambda: are_known(world))
    assert world.lane.asked == []


@pytest.mark.parametrize(
    ("key", "body", "is_heard"),
    [
        (f"accounts.{REVOKED}", Revocation(user_id=USER, session=SESSION).model_dump_json(), True),
        (f"shop.{REVOKED}", Revocation(user_id=USER, session=SESSION).model_dump_json(), False),
        (f"accounts.{REVOKED}", "rubbish", False),
    ],
)
async def test_only_who_issues_tokens_revokes_them(world: World, key: str, body: str, is_heard: bool) -> None:
    routes = Routes(world.registry, is_reserved=lambda path: False)
    listener = Listener(world.revocations, routes, owner="edge")
    listener._hear(Delivery(1, False, b"events", key.encode(), body=body.encode()))
    assert await status(world, token_of(world)) == (401 if is_heard else 200)
