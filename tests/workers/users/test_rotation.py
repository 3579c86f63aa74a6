"""The launcher changes the keys that sign, while the users service runs."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from joserfc.errors import InvalidKeyIdError

from contracts.users import GetKeys, Jwks, Tokens
from infra.launcher.failure import Failure
from infra.launcher.signing import HONOURED_FOR, forget_retired_keys, replace_keys, rotate, signing_key
from infra.launcher.state import State
from tests.conftest import Start
from tests.support.eventually import eventually
from tests.support.harness import Harness
from tests.support.vaults import vault
from tests.workers.users.people import LETTERBOX, NOBODY, claims, log_in, refresh, register
from workers.users.handlers import FirstStaff, service, take_up_new_keys
from workers.users.mailing import Mailer
from workers.users.passwords import Passwords
from workers.users.tokens import Signer

pytestmark = pytest.mark.servers


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path)
    signing_key(made)
    return made


@pytest.fixture
async def users(running: Start, state: State, monkeypatch: pytest.MonkeyPatch) -> Harness:
    """An instance that signs with the launcher's keys, and looks for new ones all the time."""
    often = [replace(chore, seconds=0.02) if chore.handler is take_up_new_keys else chore for chore in service.chores]
    monkeypatch.setattr(service, "chores", often)
    file = signing_key(state)
    service.provide(Signer(file.read_bytes(), file=file))
    service.provide(FirstStaff())
    service.provide(Passwords())
    service.provide(vault())
    service.provide(Mailer(LETTERBOX, "The Shop <shop@example.org>"))
    return await running(service)


async def published(users: Harness) -> list[str]:
    """The ids of the keys, the one that signs first."""
    jwks = await users.ask(GetKeys(), caller=NOBODY)
    assert isinstance(jwks, Jwks)
    return [key.kid for key in jwks.keys]


def signer_of(tokens: Tokens) -> str:
    """The id of the key that signed the access token."""
    header = tokens.access_token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


async def test_a_new_key_is_published_before_it_signs_and_the_old_one_until_its_tokens_have_ended(
    users: Harness, state: State
) -> None:
    await register(users)
    before, may_sign = await log_in(users), Event()
    (old,) = await published(users)
    rotating = asyncio.create_task(asyncio.to_thread(rotate, state, may_sign.wait))
    await eventually(lambda: are_published(users, 2))
    assert (await published(users))[0] == old
    assert signer_of(await log_in(users)) == old
    may_sign.set()
    await rotating
    await eventually(lambda: is_signed_anew(users, old))
    assert (await published(users))[1:] == [old]
    assert (await claims(users, before))["sub"] == (await claims(users, await log_in(users)))["sub"]
    assert signer_of(await refresh(users, before)) != old
    retired_at = datetime.now(UTC)
    forget_retired_keys(state, now=retired_at + HONOURED_FOR - timedelta(minutes=1))
    assert len(state_keys(state)) == 2
    forget_retired_keys(state, now=retired_at + HONOURED_FOR)
    await eventually(lambda: are_published(users, 1))
    with pytest.raises(InvalidKeyIdError):
        await claims(users, before)
    assert (await claims(users, await log_in(users)))["sub"]


async def test_a_key_that_leaked_is_not_honoured_and_sessions_go_on(users: Harness, state: State) -> None:
    await register(users)
    before = await log_in(users)
    replace_keys(state)
    await eventually(lambda: is_signed_anew(users, signer_of(before)))
    with pytest.raises(InvalidKeyIdError):
        await claims(users, before)
    assert (await claims(users, await refresh(users, before)))["sub"]


async def are_published(users: Harness, count: int) -> bool:
    return len(await published(users)) == count


async def is_signed_anew(users: Harness, old: str) -> bool:
    return signer_of(await log_in(users)) != old


def state_keys(state: State) -> tuple[str, ...]:
    """The ids of the keys in the launcher's file."""
    return tuple(key.kid for key in Signer(signing_key(state).read_bytes()).keys().keys)


def test_rotated_twice_at_once_one_of_the_new_keys_signs_and_all_are_honoured(state: State) -> None:
    (old,) = state_keys(state)
    within: list[str] = []

    def meanwhile() -> None:
        rotate(state, lambda: None)
        within.extend(state_keys(state))

    rotate(state, meanwhile)
    keys = state_keys(state)
    assert len(keys) == 3
    assert keys[0] not in (old, within[0])
    assert {old, within[0]} < set(keys)


def test_a_key_that_never_came_to_sign_is_forgotten_after_the_next_rotation(state: State) -> None:
    with pytest.raises(KeyboardInterrupt):
        rotate(state, interrupted)
    assert len(state_keys(state)) == 2
    rotate(state, lambda: None)
    forget_retired_keys(state, now=datetime.now(UTC) + HONOURED_FOR)
    assert len(state_keys(state)) == 1


def interrupted() -> None:
    raise KeyboardInterrupt


def test_a_file_that_makes_no_sense_is_named_and_kept(state: State) -> None:
    signing_key(state).write_text("spoilt")
    with pytest.raises(Failure, match=r"signing-key\.pem holds no private keys"):
        rotate(state, lambda: None)
    assert signing_key(state).read_text() == "spoilt"
