"""Proving an address and choosing a new password by mail."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update
from sqlmodel import col

from contracts.base import Caller
from contracts.users import (
    GetMe,
    LogIn,
    RegisterUser,
    RequestPasswordReset,
    ResetPassword,
    SuspendUser,
    TokensRevoked,
    User,
    VerifyEmail,
)
from tests.support.eventually import eventually
from tests.support.harness import Harness
from tests.workers.users.people import (
    ADA,
    LETTERBOX,
    NOBODY,
    log_in,
    mailed,
    refused,
    refused_to_refresh,
    register,
    token_in,
)
from workers.users.letters import LETTERS
from workers.users.mailing import QUIET, TRIES
from workers.users.tables import MailedTokenRow, MailRow
from workers.users.tokens import fingerprint

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

VERIFICATION, RESET, CHANGED = (
    LETTERS[kind].subject for kind in ("verification", "password-reset", "password-changed")
)
STAFF = Caller(id=uuid4(), roles=frozenset({"staff"}))
NEW = "a better horse"


@pytest.fixture
def broken_letterbox() -> Iterator[None]:
    LETTERBOX.is_broken = True
    yield
    LETTERBOX.is_broken = False


async def forgotten(users: Harness, email: str = ADA.email) -> None:
    assert await users.ask(RequestPasswordReset(email=email), caller=NOBODY) is None


async def reset_token(users: Harness) -> str:
    await forgotten(users)
    return token_in(await mailed(RESET))


async def waiting(users: Harness) -> int:
    async with users.session() as db:
        return await db.scalar(select(func.count()).select_from(MailRow)) or 0


async def is_nothing_waiting(users: Harness) -> bool:
    return await waiting(users) == 0


async def shift(users: Harness, by: timedelta) -> None:
    """Let so much time have passed for the mailed tokens."""
    await users.write(
        update(MailedTokenRow).values(
            mailed_at=MailedTokenRow.mailed_at - by, expires_at=MailedTokenRow.expires_at - by
        )
    )


async def test_who_registers_proves_the_address_with_the_token_from_the_mail(users: Harness) -> None:
    user = await register(users)
    assert not user.email_verified
    token = token_in(await mailed(VERIFICATION))
    assert await users.ask(VerifyEmail(token=token), caller=NOBODY) is None
    seen = await users.ask(GetMe(), caller=Caller(id=user.id))
    assert isinstance(seen, User)
    assert seen.email_verified


async def test_who_forgot_the_password_chooses_a_new_one(users: Harness) -> None:
    user, tokens = await register(users), await log_in(users)
    token = await reset_token(users)
    assert await users.ask(ResetPassword(token=token, password=NEW), caller=NOBODY) is None
    assert await refused(users, LogIn(email=ADA.email, password=ADA.password)) == "bad-credentials"
    await log_in(users, ADA.model_copy(update={"password": NEW}))
    assert await refused_to_refresh(users, tokens)
    assert await users.heard(TokensRevoked, user.id) == TokensRevoked(user_id=user.id, generation=1)
    await mailed(CHANGED)


async def test_nobody_learns_who_has_an_account(users: Harness) -> None:
    await register(users)
    await forgotten(users, "eve@example.org")
    await forgotten(users)
    await mailed(RESET)
    await eventually(lambda: is_nothing_waiting(users))
    assert {mail["To"] for mail in LETTERBOX.mails} <= {ADA.email.lower()}


async def test_a_mailed_token_is_kept_as_a_hash_only(users: Harness) -> None:
    await register(users)
    tokens = [token_in(await mailed(VERIFICATION)), await reset_token(users)]
    async with users.session() as db:
        kept = (await db.scalars(select(col(MailedTokenRow.sha256)))).all()
    assert set(kept) == set(map(fingerprint, tokens))


@pytest.mark.parametrize("token", ["", "unknown", "x" * 100])
async def test_an_unknown_token_is_refused(users: Harness, token: str) -> None:
    assert await refused(users, VerifyEmail(token=token)) == "token-not-valid"
    assert await refused(users, ResetPassword(token=token, password=NEW)) == "token-not-valid"


async def test_a_token_is_good_for_one_purpose(users: Harness) -> None:
    await register(users)
    verification, reset = token_in(await mailed(VERIFICATION)), await reset_token(users)
    assert await refused(users, ResetPassword(token=verification, password=NEW)) == "token-not-valid"
    assert await refused(users, VerifyEmail(token=reset)) == "token-not-valid"


async def test_an_expired_token_is_refused(users: Harness) -> None:
    await register(users)
    token = await reset_token(users)
    await shift(users, timedelta(hours=1))
    assert await refused(users, ResetPassword(token=token, password=NEW)) == "token-not-valid"


async def test_of_many_who_use_a_token_at_once_one_chooses(users: Harness) -> None:
    await register(users)
    token = await reset_token(users)

    async def chose(password: str) -> bool:
        return await users.ask(ResetPassword(token=token, password=password), caller=NOBODY) is None

    assert sum(await asyncio.gather(*(chose(f"{NEW} {n}") for n in range(4)))) == 1


async def test_whoever_asks_nobody_gets_many_mails(users: Harness) -> None:
    await register(users)
    first = await reset_token(users)
    await forgotten(users)
    await eventually(lambda: is_nothing_waiting(users))
    assert [mail for mail in LETTERBOX.mails if mail["Subject"] == RESET] == []
    await shift(users, QUIET)
    second = await reset_token(users)
    assert await users.ask(ResetPassword(token=second, password=NEW), caller=NOBODY) is None
    assert await refused(users, ResetPassword(token=first, password=NEW)) == "token-not-valid"


async def test_who_is_suspended_gets_no_new_password(users: Harness) -> None:
    user = await register(users)
    await mailed(VERIFICATION)
    await users.ask(SuspendUser(id=user.id, suspended=True), caller=STAFF)
    await forgotten(users)
    await eventually(lambda: is_nothing_waiting(users))
    assert LETTERBOX.mails == []


async def test_a_mail_that_could_not_be_sent_is_sent_later_with_a_token_that_works(
    users: Harness, broken_letterbox: None
) -> None:
    await register(users)
    await eventually(lambda: was_tried(users))
    LETTERBOX.is_broken = False
    await users.write(update(MailRow).values(due_at=datetime.now(UTC)))
    token = token_in(await mailed(VERIFICATION))
    assert await users.ask(VerifyEmail(token=token), caller=NOBODY) is None
    await eventually(lambda: is_nothing_waiting(users))


async def test_a_mail_that_can_never_be_sent_is_given_up(users: Harness, broken_letterbox: None) -> None:
    await register(users)
    await eventually(lambda: was_tried(users))
    assert await waiting(users) == 1
    await users.write(update(MailRow).values(due_at=datetime.now(UTC), attempts=TRIES - 1))
    await eventually(lambda: is_nothing_waiting(users))


async def test_an_address_that_is_none_harms_no_other_mail(users: Harness) -> None:
    await register(users, RegisterUser(email="eve,ada@example.org", password="correct horse", name="Eve"))
    await register(users)
    await mailed(VERIFICATION)
    assert LETTERBOX.mails == []


async def was_tried(users: Harness) -> bool:
    async with users.session() as db:
        return bool(await db.scalar(select(MailRow).where(col(MailRow.attempts) > 0, col(MailRow.due_at) > func.now())))
