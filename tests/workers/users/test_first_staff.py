import asyncio
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select
from tests.support.running import Running

from broker.transaction import Transaction
from contracts.users import UserCreated
from workers.users.handlers import Credentials, FirstStaff, ensure_first_staff_user
from workers.users.passwords import Passwords
from workers.users.tables import UserRow

pytestmark = pytest.mark.servers

BOSS = FirstStaff(Credentials(email="Boss@example.org", password="correct horse"))


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    made = Passwords(hasher=PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    yield made
    await made.aclose()


async def start(users: Running, passwords: Passwords, wanted: FirstStaff = BOSS) -> int:
    """What an instance does at its start; how many people it let the world know of."""
    async with users.session() as db:
        tx = Transaction(db, says=frozenset({UserCreated.topic}))
        await ensure_first_staff_user(tx, wanted, passwords)
        await db.commit()
        return len(tx.said)


async def rows(users: Running) -> list[UserRow]:
    async with users.session() as db:
        return list((await db.scalars(select(UserRow))).all())


async def test_the_first_staff_user_is_there_after_the_start(users: Running, passwords: Passwords) -> None:
    assert await start(users, passwords) == 1
    (boss,) = await rows(users)
    assert (boss.email, boss.roles) == ("boss@example.org", ["staff"])
    assert await passwords.verify("correct horse", boss.password_hash)


async def test_of_racing_instances_one_makes_the_first_staff_user(users: Running, passwords: Passwords) -> None:
    assert sum(await asyncio.gather(*(start(users, passwords) for _ in range(4)))) == 1
    assert len(await rows(users)) == 1


async def test_a_later_start_changes_nothing(users: Running, passwords: Passwords) -> None:
    await start(users, passwords)
    before = await rows(users)
    other_password = FirstStaff(Credentials(email="boss@example.org", password="battery staple"))
    assert await start(users, passwords, other_password) == 0
    assert [row.password_hash for row in await rows(users)] == [row.password_hash for row in before]


async def test_nobody_is_made_staff_unasked(users: Running, passwords: Passwords) -> None:
    assert await start(users, passwords, FirstStaff()) == 0
    assert await rows(users) == []
