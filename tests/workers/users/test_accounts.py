"""What staff does with accounts, and what becomes of their tokens."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlmodel import col

from contracts.base import Caller, Operation, Page, Refusal
from contracts.tokens import Revocations
from contracts.users import (
    AssignRoles,
    GetRevocations,
    GetUser,
    ListUsers,
    LogIn,
    LogOut,
    RefreshSession,
    RegisterUser,
    SuspendUser,
    Tokens,
    TokensRevoked,
    User,
)
from tests.support.harness import Harness
from tests.workers.users.people import (
    ADA,
    NOBODY,
    age,
    claims,
    identified,
    log_in,
    refresh,
    refused,
    refused_to_refresh,
    register,
)
from workers.users.revoking import KEPT_FOR
from workers.users.rules import GRACE
from workers.users.tables import RevocationRow

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

STAFF = Caller(id=uuid4(), roles=frozenset({"staff"}))


async def done(users: Harness, ask: Operation[User]) -> User:
    user = await users.ask(ask, caller=STAFF)
    assert isinstance(user, User)
    return user


async def recently_revoked(users: Harness) -> Revocations:
    revoked = await users.ask(GetRevocations(), caller=NOBODY)
    assert isinstance(revoked, Revocations)
    return revoked


async def listed(users: Harness, **question: Any) -> Page[User]:
    page = await users.ask(ListUsers(**question), caller=STAFF)
    assert isinstance(page, Page)
    return page


async def test_a_log_out_is_told_to_edges_that_run_and_kept_for_those_that_start(users: Harness) -> None:
    user = await register(users)
    caller = await identified(users, await log_in(users))
    await users.ask(LogOut(), caller=caller)
    assert await users.heard(TokensRevoked, user.id) == TokensRevoked(user_id=user.id, session=caller.session)
    assert await recently_revoked(users) == Revocations(sessions=(caller.session,))


async def test_a_family_that_ends_takes_its_access_tokens_along(users: Harness) -> None:
    user, tokens = await register(users), await log_in(users)
    await refresh(users, tokens)
    await age(users, tokens, GRACE + timedelta(seconds=1))
    assert await refused(users, RefreshSession(refresh_token=tokens.refresh_token)) == "bad-refresh-token"
    told = await users.heard(TokensRevoked, user.id)
    assert told.session == (await identified(users, tokens)).session


async def test_a_suspension_ends_all_sessions(users: Harness) -> None:
    user, tokens = await register(users), await log_in(users)
    suspended = await done(users, SuspendUser(id=user.id, suspended=True))
    assert suspended.suspended
    assert await users.heard(TokensRevoked, user.id) == TokensRevoked(user_id=user.id, generation=1)
    assert await recently_revoked(users) == Revocations(generations={user.id: 1})
    assert await refused(users, RefreshSession(refresh_token=tokens.refresh_token)) == "bad-refresh-token"


async def test_who_is_suspended_learns_it_only_with_the_right_password(users: Harness) -> None:
    user = await register(users)
    await done(users, SuspendUser(id=user.id, suspended=True))
    assert await refused(users, LogIn(email=ADA.email, password=ADA.password)) == "account-suspended"
    assert await refused(users, LogIn(email=ADA.email, password="wrong horse")) == "bad-credentials"


async def test_after_a_suspension_one_logs_in_anew_with_tokens_of_a_newer_generation(users: Harness) -> None:
    user, tokens = await register(users), await log_in(users)
    await done(users, SuspendUser(id=user.id, suspended=True))
    assert not (await done(users, SuspendUser(id=user.id, suspended=False))).suspended
    assert await refused(users, RefreshSession(refresh_token=tokens.refresh_token)) == "bad-refresh-token"
    assert await generation(users) == 1


async def test_suspended_twice_the_generation_changes_once(users: Harness) -> None:
    user = await register(users)
    for _ in range(2):
        await done(users, SuspendUser(id=user.id, suspended=True))
    assert await recently_revoked(users) == Revocations(generations={user.id: 1})


async def test_new_roles_void_the_access_tokens_and_are_in_the_refreshed_ones(users: Harness) -> None:
    user, tokens = await register(users), await log_in(users)
    changed = await done(users, AssignRoles(id=user.id, roles=("staff", "baker")))
    assert changed.roles == ("baker", "staff")
    assert await users.heard(TokensRevoked, user.id) == TokensRevoked(user_id=user.id, generation=1)
    assert (await identified(users, await refresh(users, tokens))).roles == {"baker", "staff"}
    assert await generation(users) == 1


async def test_the_same_roles_again_void_nothing(users: Harness) -> None:
    user = await register(users)
    await done(users, AssignRoles(id=user.id, roles=("customer",)))
    assert await recently_revoked(users) == Revocations()


async def test_a_log_in_during_a_suspension_leaves_no_session_behind(users: Harness) -> None:
    user = await register(users)

    async def tried() -> Tokens | Refusal:
        return await users.ask(LogIn(email=ADA.email, password=ADA.password), caller=NOBODY)

    log_ins = [asyncio.create_task(tried()) for _ in range(4)]
    await done(users, SuspendUser(id=user.id, suspended=True))
    answers = await asyncio.gather(*log_ins)
    await done(users, SuspendUser(id=user.id, suspended=False))
    for answer in answers:
        if isinstance(answer, Refusal):
            assert answer.slug == "account-suspended"
        else:
            assert await refused_to_refresh(users, answer)


async def test_revocations_of_tokens_that_have_expired_are_not_told(users: Harness) -> None:
    await register(users)
    await users.ask(LogOut(), caller=await identified(users, await log_in(users)))
    await users.write(update(RevocationRow).values(revoked_at=col(RevocationRow.revoked_at) - KEPT_FOR))
    assert await recently_revoked(users) == Revocations()


@pytest.mark.parametrize("ask", [SuspendUser, AssignRoles])
async def test_nobody_does_it_to_themselves(users: Harness, ask: type[Operation[User]]) -> None:
    mine = ask.model_validate({"id": STAFF.id, **({"suspended": True} if ask is SuspendUser else {"roles": []})})
    assert await refused(users, mine, STAFF) == "not-yourself"


async def test_who_is_not_there_is_not_found(users: Harness) -> None:
    nobody = uuid4()
    assert await refused(users, GetUser(id=nobody), STAFF) == "no-such-user"
    assert await refused(users, SuspendUser(id=nobody, suspended=True), STAFF) == "no-such-user"
    assert await refused(users, AssignRoles(id=nobody, roles=()), STAFF) == "no-such-user"


async def test_only_staff_may(users: Harness) -> None:
    user = await register(users)
    asks: tuple[Operation[Any], ...] = (
        GetUser(id=user.id),
        ListUsers(),
        SuspendUser(id=user.id, suspended=True),
        AssignRoles(id=user.id, roles=("staff",)),
    )
    for ask in asks:
        assert await refused(users, ask, Caller(id=user.id)) == "forbidden"
        assert await refused(users, ask) == "unauthenticated"


async def test_accounts_are_listed_in_pages_the_newest_first(users: Harness) -> None:
    registered = [
        await register(users, RegisterUser(email=f"{n}@example.org", password="correct horse", name=str(n)))
        for n in range(3)
    ]
    first = await listed(users, limit=2)
    second = await listed(users, limit=2, cursor=first.next)
    assert [*first.items, *second.items] == registered[::-1]
    assert second.next is None
    assert (await done(users, GetUser(id=registered[0].id))) == registered[0]


async def test_an_account_is_found_by_its_address_in_whatever_letters(users: Harness) -> None:
    user = await register(users)
    await register(users, RegisterUser(email="eve@example.org", password="correct horse", name="Eve"))
    assert (await listed(users, email="ADA@example.ORG")).items == (user,)


async def test_a_cursor_of_something_else_is_refused(users: Harness) -> None:
    assert await refused(users, ListUsers(cursor="x"), STAFF) == "invalid-request"


async def generation(users: Harness) -> int:
    """Of the access token that Ada gets now."""
    return int((await claims(users, await log_in(users)))["gen"])
