import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from argon2 import PasswordHasher
from joserfc.jwk import ECKey
from sqlalchemy import func, select, update
from sqlmodel import col

from contracts.base import Address, Caller, Refusal
from contracts.users import (
    ChangeMe,
    GetMe,
    LogIn,
    LogOut,
    RefreshSession,
    RegisterUser,
    User,
    UserCreated,
)
from tests.support.harness import Harness
from tests.workers.users.people import (
    ADA,
    NOBODY,
    age,
    identified,
    log_in,
    refresh,
    refused,
    refused_to_refresh,
    register,
)
from workers.users.handlers import service
from workers.users.passwords import OWASP, Passwords
from workers.users.rules import GRACE, REFRESH_LIFETIME
from workers.users.tables import RefreshTokenRow, SessionRow, UserRow
from workers.users.tokens import Signer, fingerprint

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

HOME = Address(name="Ada", line1="1 Hedge Row", postal_code="N1", city="London", country="GB")


async def count(users: Harness, table: type[RefreshTokenRow] | type[SessionRow] | type[UserRow]) -> int:
    async with users.session() as db:
        return await db.scalar(select(func.count()).select_from(table)) or 0


async def test_who_registers_is_a_customer(users: Harness) -> None:
    user = await register(users)
    assert (user.email, user.name, user.roles, user.address) == ("ada@example.org", "Ada", ("customer",), None)


async def test_a_registration_is_told_without_personal_data(users: Harness) -> None:
    user = await register(users)
    event = await users.heard(UserCreated, user.id)
    assert event == UserCreated(user_id=user.id, created_at=user.created_at)


async def test_an_address_in_other_letters_is_taken(users: Harness) -> None:
    await register(users)
    assert await refused(users, ADA.model_copy(update={"email": "aDA@eXAMPLE.ORG"})) == "email-taken"


async def test_of_many_who_register_one_address_at_once_one_gets_it(users: Harness) -> None:
    async def got_it() -> bool:
        answer = await users.ask(ADA, caller=NOBODY)
        return isinstance(answer, User)

    assert sum(await asyncio.gather(*(got_it() for _ in range(5)))) == 1
    assert await count(users, UserRow) == 1


async def test_only_a_hash_of_the_password_is_kept(users: Harness) -> None:
    await register(users)
    async with users.session() as db:
        (row,) = (await db.scalars(select(UserRow))).all()
    assert row.password_hash.startswith("$argon2id$")


async def test_a_log_in_says_who_and_for_how_long(users: Harness) -> None:
    user, tokens = await register(users), await log_in(users)
    caller = await identified(users, tokens)
    assert (caller.id, caller.roles) == (user.id, frozenset({"customer"}))
    assert (tokens.token_type, tokens.expires_in) == ("Bearer", 600)


async def test_each_log_in_is_a_session_of_its_own(users: Harness) -> None:
    await register(users)
    one, other = await log_in(users), await log_in(users)
    assert (await identified(users, one)).session != (await identified(users, other)).session


async def test_a_wrong_password_and_an_unknown_address_are_refused_alike(users: Harness) -> None:
    await register(users)
    wrong = await users.ask(LogIn(email=ADA.email, password="wrong horse"), caller=NOBODY)
    unknown = await users.ask(LogIn(email="eve@example.org", password=ADA.password), caller=NOBODY)
    assert isinstance(wrong, Refusal)
    assert (wrong.slug, wrong.status) == ("bad-credentials", 401)
    assert wrong == unknown


async def test_a_password_that_was_changed_while_it_was_verified_is_wrong(
    users: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(users)
    passwords: Passwords = service.provided[Passwords]
    verify = passwords.verify

    async def verify_and_be_late(password: str, kept: str | None) -> bool:
        right = await verify(password, kept)
        await users.write(update(UserRow).values(password_hash=await passwords.hash("another horse")))
        return right

    monkeypatch.setattr(passwords, "verify", verify_and_be_late)
    assert await refused(users, LogIn(email=ADA.email, password=ADA.password)) == "bad-credentials"


async def test_a_log_in_renews_a_hash_with_other_parameters(users: Harness) -> None:
    older = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    await register(users)
    await users.write(update(UserRow).values(password_hash=older.hash(ADA.password)))
    await log_in(users)
    async with users.session() as db:
        (renewed,) = (await db.scalars(select(col(UserRow.password_hash)))).all()
    assert not OWASP.check_needs_rehash(renewed)
    await log_in(users)


async def test_refreshed_tokens_are_of_the_same_person_and_session(users: Harness) -> None:
    await register(users)
    tokens = await log_in(users)
    renewed = await refresh(users, await refresh(users, tokens))
    assert await identified(users, renewed) == await identified(users, tokens)


async def test_only_fingerprints_of_refresh_tokens_are_kept(users: Harness) -> None:
    await register(users)
    tokens = await log_in(users)
    await refresh(users, tokens)
    async with users.session() as db:
        kept = (await db.scalars(select(col(RefreshTokenRow.sha256)))).all()
    assert len(kept) == 2
    assert fingerprint(tokens.refresh_token) in kept


async def test_asked_again_at_once_it_answers_the_same_successor(users: Harness) -> None:
    await register(users)
    tokens = await log_in(users)
    assert (await refresh(users, tokens)).refresh_token == (await refresh(users, tokens)).refresh_token


async def test_asked_again_while_the_keys_change_it_answers_the_same_successor(users: Harness) -> None:
    await register(users)
    tokens = await log_in(users)
    successor = await refresh(users, tokens)
    new = ECKey.generate_key("P-256").as_pem(private=True)
    old: bytes = service.provided[Signer]._pem
    service.provided[Signer]._take(new + old)
    try:
        assert (await refresh(users, tokens)).refresh_token == successor.refresh_token
    finally:
        service.provided[Signer]._take(old)


async def test_asked_many_times_at_once_it_answers_one_successor(users: Harness) -> None:
    await register(users)
    tokens = await log_in(users)
    answers = await asyncio.gather(*(refresh(users, tokens) for _ in range(8)))
    assert len({answer.refresh_token for answer in answers}) == 1
    assert await count(users, RefreshTokenRow) == 2


async def test_a_token_spent_again_later_ends_the_whole_family(users: Harness) -> None:
    await register(users)
    tokens = await log_in(users)
    successor = await refresh(users, tokens)
    await age(users, tokens, GRACE + timedelta(seconds=1))
    assert await refused_to_refresh(users, tokens)
    assert await refused_to_refresh(users, successor)


async def test_the_end_of_a_family_leaves_other_sessions_alone(users: Harness) -> None:
    await register(users)
    tokens, elsewhere = await log_in(users), await log_in(users)
    await refresh(users, tokens)
    await age(users, tokens, GRACE + timedelta(seconds=1))
    assert await refused_to_refresh(users, tokens)
    await refresh(users, elsewhere)


async def test_an_expired_token_is_refused(users: Harness) -> None:
    await register(users)
    tokens = await log_in(users)
    await age(users, tokens, REFRESH_LIFETIME)
    assert await refused_to_refresh(users, tokens)


@pytest.mark.parametrize("token", ["", "unknown", "x" * 500])
async def test_an_unknown_token_is_refused(users: Harness, token: str) -> None:
    assert await refused(users, RefreshSession(refresh_token=token)) == "bad-refresh-token"


async def test_expired_tokens_and_sessions_are_forgotten(users: Harness) -> None:
    await register(users)
    first = await log_in(users)
    second = await refresh(users, first)
    await age(users, first, REFRESH_LIFETIME)
    third = await refresh(users, second)
    assert await count(users, RefreshTokenRow) == 2
    await age(users, second, REFRESH_LIFETIME)
    await age(users, third, REFRESH_LIFETIME)
    await log_in(users)
    assert (await count(users, SessionRow), await count(users, RefreshTokenRow)) == (1, 1)


async def test_after_the_log_out_the_session_can_not_be_refreshed(users: Harness) -> None:
    await register(users)
    tokens, elsewhere = await log_in(users), await log_in(users)
    assert await users.ask(LogOut(), caller=await identified(users, tokens)) is None
    assert await refused_to_refresh(users, tokens)
    await refresh(users, elsewhere)


async def test_to_log_out_twice_is_as_good_as_once(users: Harness) -> None:
    await register(users)
    caller = await identified(users, await log_in(users))
    assert await users.ask(LogOut(), caller=caller) is None
    assert await users.ask(LogOut(), caller=caller) is None


async def test_everybody_sees_their_own_profile(users: Harness) -> None:
    user = await register(users)
    await register(users, RegisterUser(email="eve@example.org", password="correct horse", name="Eve"))
    assert await users.ask(GetMe(), caller=Caller(id=user.id)) == user


async def test_what_is_left_out_of_a_change_stays(users: Harness) -> None:
    ada = Caller(id=(await register(users)).id)
    await users.ask(ChangeMe(address=HOME), caller=ada)
    user = await users.ask(ChangeMe(name="Countess"), caller=ada)
    assert isinstance(user, User)
    assert (user.name, user.address) == ("Countess", HOME)
    assert await users.ask(GetMe(), caller=ada) == user
    assert await users.ask(ChangeMe(), caller=ada) == user


async def test_a_null_removes_the_address(users: Harness) -> None:
    ada = Caller(id=(await register(users)).id)
    await users.ask(ChangeMe(address=HOME), caller=ada)
    user = await users.ask(ChangeMe(address=None), caller=ada)
    assert isinstance(user, User)
    assert (user.name, user.address) == ("Ada", None)


async def test_a_name_can_not_be_removed(users: Harness) -> None:
    ada = Caller(id=(await register(users)).id)
    assert await refused(users, ChangeMe(name=None, address=HOME), caller=ada) == "invalid-request"
    user = await users.ask(GetMe(), caller=ada)
    assert isinstance(user, User)
    assert (user.name, user.address) == ("Ada", None)


async def test_who_is_gone_is_not_authenticated(users: Harness) -> None:
    gone = Caller(id=uuid4())
    assert await refused(users, GetMe(), caller=gone) == "unauthenticated"
    assert await refused(users, ChangeMe(name="Ghost"), caller=gone) == "unauthenticated"
