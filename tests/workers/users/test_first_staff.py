import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from joserfc.jwk import ECKey
from sqlalchemy import select

from broker.outbox import Origin
from broker.transaction import Transaction
from contracts.users import LogIn, Tokens
from tests.conftest import Start
from tests.support.harness import Harness
from tests.support.vaults import vault
from tests.workers.users.people import LETTERBOX
from workers.users.handlers import Credentials, FirstStaff, ensure_first_staff_user, service
from workers.users.mailing import Mailer
from workers.users.passwords import Passwords
from workers.users.tables import UserRow
from workers.users.tokens import Signer

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

BOSS = FirstStaff(Credentials(email="Boss@example.org", password="correct horse"))


@pytest_asyncio.fixture(loop_scope="module")
async def passwords() -> AsyncIterator[Passwords]:
    made = Passwords(hasher=PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    yield made
    await made.aclose()


async def start(users: Harness, passwords: Passwords, wanted: FirstStaff = BOSS) -> int:
    """What an instance does at its start; how many people it let the world know of."""
    assert users.service is not None
    assert users.service.database is not None

    async def ensure(tx: Transaction) -> int:
        await ensure_first_staff_user(tx, wanted, passwords)
        return len(tx.said)

    return await users.service.database.transact(Origin("start"), ensure)


async def rows(users: Harness) -> list[UserRow]:
    async with users.session() as db:
        return list((await db.scalars(select(UserRow))).all())


async def test_the_first_staff_user_is_there_after_the_start(users: Harness, passwords: Passwords) -> None:
    assert await start(users, passwords) == 1
    (boss,) = await rows(users)
    assert boss.roles == ["staff"]
    assert await passwords.verify("correct horse", boss.password_hash)


@pytest.mark.asyncio(loop_scope="function")
async def test_the_first_staff_user_can_log_in_as_soon_as_the_service_answers(running: Start) -> None:
    service.provide(Mailer(LETTERBOX, "The Shop <shop@example.org>"))
    service.provide(Signer(ECKey.generate_key("P-256").as_pem(private=True)))
    service.provide(BOSS)
    service.provide(Passwords())
    service.provide(vault())
    tokens = await (await running(service)).ask(LogIn(email="boss@example.org", password="correct horse"))
    assert isinstance(tokens, Tokens)
    claims = json.loads(urlsafe_b64decode(tokens.access_token.split(".")[1] + "=="))
    assert claims["roles"] == ["staff"]


async def test_of_racing_instances_one_makes_the_first_staff_user(users: Harness, passwords: Passwords) -> None:
    assert sum(await asyncio.gather(*(start(users, passwords) for _ in range(4)))) == 1
    assert len(await rows(users)) == 1


async def test_a_later_start_changes_nothing(users: Harness, passwords: Passwords) -> None:
    await start(users, passwords)
    before = await rows(users)
    other_password = FirstStaff(Credentials(email="boss@example.org", password="battery staple"))
    assert await start(users, passwords, other_password) == 0
    assert [row.password_hash for row in await rows(users)] == [row.password_hash for row in before]


async def test_nobody_is_made_staff_unasked(users: Harness, passwords: Passwords) -> None:
    assert await start(users, passwords, FirstStaff()) == 0
    assert await rows(users) == []
