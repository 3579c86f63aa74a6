"""Closing an account, and what the release before kept in the clear."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text

from broker.ids import new_id
from broker.lane import Request
from broker.outbox import Origin
from contracts.base import Address, Caller, Refusal
from contracts.users import (
    ChangeMe,
    EraseMe,
    GetMe,
    GetUser,
    ListUsers,
    LogIn,
    RegisterUser,
    RequestPasswordReset,
    TokensRevoked,
    User,
    UserErased,
)
from tests.support.harness import Harness
from tests.workers.users.people import (
    ADA,
    LETTERBOX,
    NOBODY,
    identified,
    log_in,
    mailed,
    refused,
    refused_to_refresh,
    register,
)
from tests.workers.users.test_accounts import STAFF, listed
from workers.users.handlers import forget_who_was_erased
from workers.users.letters import LETTERS
from workers.users.passwords import OWASP
from workers.users.sealing import seal_some
from workers.users.tables import MailedTokenRow, MailRow, UserRow

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
EVE = RegisterUser(email="eve@example.org", password="correct horse", name="Eve")
HOME = Address(name="Ada", line1="1 Hedge Row", postal_code="N1", city="London", country="GB")


async def tables(users: Harness) -> str:
    """All that is kept, as text."""
    async with users.session() as db:
        names = ("users", "mails", "mailed_tokens", "answers", "outbox", "person_keys")
        return "".join([str((await db.execute(text(f"SELECT {name}::text FROM {name}"))).all()) for name in names])


async def test_no_table_shows_who_somebody_is(users: Harness) -> None:
    user = await register(users)
    await users.ask(ChangeMe(address=HOME), caller=Caller(id=user.id))
    await users.ask(RequestPasswordReset(email=ADA.email), caller=NOBODY)
    kept = await tables(users)
    assert str(user.id) in kept
    for word in (user.email, "Ada", HOME.line1):
        assert word not in kept
        assert word.encode().hex() not in kept


async def test_who_closes_the_account_is_gone_and_may_come_back_as_somebody_new(users: Harness) -> None:
    user, tokens = await register(users), await log_in(users)
    caller = await identified(users, tokens)
    await mailed(LETTERS["verification"].subject)
    assert await users.ask(EraseMe(), caller=caller) is None
    assert await users.heard(UserErased, user.id) == UserErased(user_id=user.id)
    assert await users.heard(TokensRevoked, user.id) == TokensRevoked(user_id=user.id, generation=1)
    assert await refused(users, LogIn(email=ADA.email, password=ADA.password)) == "bad-credentials"
    assert await refused_to_refresh(users, tokens)
    assert await refused(users, GetMe(), caller) == "unauthenticated"
    assert await refused(users, EraseMe(), caller) == "unauthenticated"
    assert await refused(users, GetUser(id=user.id), STAFF) == "no-such-user"
    assert (await listed(users, email=ADA.email)).items == ()
    assert LETTERBOX.mails == []
    again = await register(users)
    assert again.id != user.id


async def test_asked_again_the_answer_of_a_closed_account_is_erased(users: Harness) -> None:
    caller = Caller(id=(await register(users)).id)
    asked = Request(
        topic=ChangeMe.topic,
        body=ChangeMe(address=HOME).model_dump_json(exclude_unset=True).encode(),
        deadline=time.time() + 10,
        request_id=str(new_id()),
        caller=caller,
        idempotency_key="key",
    )
    first = await users.requester.request(asked)
    assert await users.requester.request(asked) == first
    await users.ask(EraseMe(), caller=caller)
    assert Refusal.model_validate_json((await users.requester.request(asked)).body).slug == "answer-erased"


async def test_a_restored_copy_forgets_at_its_start_whose_keys_were_destroyed(users: Harness) -> None:
    gone, stays = (
        await register(users),
        await register(users, EVE),
    )
    tokens = await log_in(users)
    await users.write(text("DELETE FROM person_keys WHERE person = :id").bindparams(id=gone.id))
    assert await refused_to_refresh(users, tokens)
    await users.write(text("INSERT INTO erasures (person) VALUES (:id)").bindparams(id=gone.id))
    assert await refused(users, GetMe(), Caller(id=gone.id)) == "unauthenticated"
    assert (await users.ask(ListUsers(), caller=STAFF)).items == (stays,)  # type: ignore[union-attr]
    assert users.service is not None
    assert users.service.database is not None
    await users.service.database.transact(Origin("start"), forget_who_was_erased)
    async with users.session() as db:
        assert (await db.execute(text("SELECT id FROM users"))).scalars().all() == [stays.id]


async def test_what_the_release_before_wrote_is_sealed_and_found_again(users: Harness) -> None:
    now, id = datetime.now(UTC), new_id()
    row = {"id": id, "email": ADA.email.lower(), "name": ADA.name, "address": HOME.model_dump(), "roles": ["customer"]}
    row |= {"password_hash": OWASP.hash(ADA.password), "created_at": now, "token_generation": 0}
    await users.write(insert(UserRow).values(row))
    later = now + timedelta(days=1)
    token = {"sha256": b"x" * 32, "kind": "verification", "user_id": id, "mailed_at": now, "expires_at": later}
    await users.write(insert(MailedTokenRow).values({**token, "email": ADA.email.lower()}))
    mail = {"id": new_id(), "kind": "password-reset", "email": ADA.email.lower(), "attempts": 0, "due_at": later}
    await users.write(insert(MailRow).values(mail))
    assert ADA.email.lower() in await tables(users)
    assert users.service is not None
    assert users.service.database is not None
    assert await users.service.database.transact(Origin("seal"), seal_some)
    assert not await users.service.database.transact(Origin("seal"), seal_some)
    assert ADA.email.lower() not in await tables(users)
    seen = await users.ask(GetMe(), caller=await identified(users, await log_in(users)))
    assert isinstance(seen, User)
    assert (seen.id, seen.email, seen.name, seen.address) == (id, ADA.email.lower(), ADA.name, HOME)
    async with users.session() as db:
        pairs = "SELECT count(DISTINCT lookup) FROM (SELECT lookup FROM mails UNION SELECT lookup FROM mailed_tokens) t"
        assert (await db.execute(text(pairs))).scalar_one() == 1
