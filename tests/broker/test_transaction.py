"""Transactions: together or not at all, and again when the database breaks one off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from broker.outbox import Origin
from broker.transaction import TRIES, Database, DatabaseAwayError, RolledBackError, Transaction
from tests.broker.diary import Opened
from tests.broker.shop import outbox, shop

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
FLOW = Origin("flow")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(shared_database: str) -> AsyncIterator[Database]:
    """A schema with two accounts to lock."""
    async with shop(shared_database) as it:
        async with it._engine.begin() as connection:
            await connection.execute(text("CREATE TABLE accounts (name text PRIMARY KEY, amount int)"))
            await connection.execute(text("INSERT INTO accounts VALUES ('a', 0), ('b', 0)"))
        yield it


async def _add(transaction: Transaction, name: str) -> None:
    statement = text("UPDATE accounts SET amount = amount + 1 WHERE name = :name")
    await transaction.session.execute(statement, {"name": name})


async def _amounts(database: Database) -> list[int]:
    async with database.reading() as transaction:
        statement = text("SELECT amount FROM accounts ORDER BY name")
        return list((await transaction.session.execute(statement)).scalars())


async def test_a_deadlock_is_broken_and_both_transactions_are_done(database: Database) -> None:
    before = await _amounts(database)
    both_hold_one = asyncio.Barrier(2)
    begun: list[str] = []

    async def cross(transaction: Transaction, first: str, second: str) -> None:
        begun.append(first)
        await _add(transaction, first)
        if len(begun) <= 2:
            await both_hold_one.wait()
        await _add(transaction, second)

    await asyncio.gather(
        database.transact(FLOW, lambda tx: cross(tx, "a", "b")), database.transact(FLOW, lambda tx: cross(tx, "b", "a"))
    )
    assert await _amounts(database) == [amount + 2 for amount in before]
    assert len(begun) == 3


async def test_a_transaction_that_can_not_be_serialised_is_done_again(database: Database) -> None:
    before = await _amounts(database)
    begun: list[int] = []

    async def overtaken(transaction: Transaction) -> None:
        begun.append(1)
        await transaction.session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        await transaction.session.execute(text("SELECT * FROM accounts"))
        if len(begun) == 1:
            await database.transact(FLOW, lambda tx: _add(tx, "a"))
        await _add(transaction, "a")

    await database.transact(FLOW, overtaken)
    assert await _amounts(database) == [before[0] + 2, before[1]]


async def test_a_transaction_whose_connection_is_lost_is_done_again_and_says_it_once(database: Database) -> None:
    begun: list[int] = []

    async def lose_the_first(transaction: Transaction) -> None:
        begun.append(1)
        transaction.emit(Opened(account="a", number=len(begun)))
        if len(begun) == 1:
            await transaction.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    await database.transact(FLOW, lose_the_first)
    assert len(begun) == 2
    assert [row.body for row in await outbox(database)] == [b'{"account":"a","number":2}']


async def test_who_is_always_broken_off_is_told_so(database: Database) -> None:
    begun: list[int] = []

    async def never(transaction: Transaction) -> None:
        begun.append(1)
        raise_it = "DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$"
        await transaction.session.execute(text(raise_it))

    with pytest.raises(Exception, match=r"40001|SerializationError"):
        await database.transact(FLOW, never)
    assert len(begun) == TRIES


async def test_what_is_wrong_with_the_work_itself_is_not_done_again(database: Database) -> None:
    begun: list[int] = []

    async def wrong(transaction: Transaction) -> None:
        begun.append(1)
        await transaction.session.execute(text("INSERT INTO accounts VALUES ('a', 1)"))

    with pytest.raises(IntegrityError):
        await database.transact(FLOW, wrong)
    assert begun == [1]


async def test_an_abandoned_transaction_leaves_nothing_and_returns_what_was_decided(database: Database) -> None:
    before = await _amounts(database)

    async def refuse(transaction: Transaction) -> str:
        await _add(transaction, "a")
        transaction.abandon()
        return "no"

    assert await database.transact(FLOW, refuse) == "no"
    assert await _amounts(database) == before


async def test_a_handler_that_commits_its_session_commits_nothing(database: Database) -> None:
    before = await _amounts(database)

    async def commit_and_fail(transaction: Transaction) -> None:
        await _add(transaction, "a")
        await transaction.session.commit()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.transact(FLOW, commit_and_fail)
    assert await _amounts(database) == before


async def test_who_goes_on_after_a_failed_statement_is_told_that_nothing_became_true(database: Database) -> None:
    async def go_on(transaction: Transaction) -> None:
        with contextlib.suppress(asyncpg.UniqueViolationError):
            await transaction.connection.execute("INSERT INTO accounts VALUES ('a', 1)")

    with pytest.raises(RolledBackError):
        await database.transact(FLOW, go_on)


async def test_the_session_and_the_connection_are_in_one_transaction(database: Database) -> None:
    before = await _amounts(database)

    async def add_twice(transaction: Transaction) -> None:
        await _add(transaction, "a")
        await transaction.connection.execute("UPDATE accounts SET amount = amount + 1 WHERE name = 'a'")
        transaction.abandon()

    await database.transact(FLOW, add_twice)
    assert await _amounts(database) == before


async def test_a_cancelled_transaction_leaves_its_connection_clean(shared_database: str) -> None:
    database = Database(shared_database, service="shop", says=frozenset(), pool=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await database.transact(FLOW, lambda tx: tx.connection.execute("SELECT pg_sleep(5)"))
    assert await database.read(lambda tx: tx.connection.fetchval("SELECT 7")) == 7
    await database.close()


async def test_reading_leaves_nothing_behind(database: Database) -> None:
    before = await _amounts(database)
    async with database.reading() as transaction:
        await _add(transaction, "a")
    assert await _amounts(database) == before


async def test_a_look_whose_connection_is_lost_is_taken_again(database: Database) -> None:
    looks = 0

    async def look(transaction: Transaction) -> int:
        nonlocal looks
        looks += 1
        if looks == 1:
            await transaction.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return int((await transaction.session.execute(text("SELECT 7"))).scalar_one())

    assert await database.read(look) == 7
    assert looks == 2


async def test_a_database_that_is_away_says_so_before_anything_is_tried(shared_database: str) -> None:
    database = Database(shared_database + "_of_another_world", service="shop", says=frozenset())
    begun: list[int] = []

    async def work(_: Transaction) -> None:
        begun.append(1)

    with pytest.raises(DatabaseAwayError):
        await database.transact(FLOW, work)
    assert begun == []
    await database.close()
