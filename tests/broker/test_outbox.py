"""The outbox: what a transaction says leaves with its commit, or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import text

from broker.ids import new_token
from broker.outbox import PARTITIONS, Origin, partition_of
from broker.transaction import Database, Transaction
from contracts.base import Said
from tests.broker.diary import Closed, Grown, Opened, Write, Written
from tests.broker.shop import outbox, say, shop

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_shop(shared_database: str) -> AsyncIterator[Database]:
    """A schema for all tests of this module."""
    async with shop(shared_database) as database:
        async with database._engine.begin() as connection:
            await connection.execute(text("CREATE TABLE cash (amount int)"))
        yield database


@pytest_asyncio.fixture(loop_scope="module")
async def database(one_shop: Database) -> AsyncIterator[Database]:
    """The schema with an empty outbox."""
    yield one_shop
    async with one_shop._engine.begin() as connection:
        await connection.execute(text("TRUNCATE outbox, cash"))


async def _take_cash(database: Database, *messages: Said, amount: int = 1, fail: bool = False) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.session.execute(text("INSERT INTO cash VALUES (:amount)"), {"amount": amount})
        transaction.say(*messages)
        if fail:
            raise ZeroDivisionError

    await database.transact(Origin("flow"), work)


async def _cash(database: Database) -> int:
    async with database.reading() as transaction:
        return int((await transaction.session.execute(text("SELECT count(*) FROM cash"))).scalar_one())


async def test_rows_and_messages_become_true_together(database: Database) -> None:
    await _take_cash(database, Opened(account="a"), Write(account="a"))
    assert await _cash(database) == 1
    assert [(row.exchange, row.topic) for row in await outbox(database)] == [
        ("events", Opened.topic),
        ("commands", Write.topic),
    ]


async def test_who_raises_says_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        await _take_cash(database, Opened(account="a"), fail=True)
    assert await _cash(database) == 0
    assert await outbox(database) == []


async def test_an_abandoned_transaction_says_nothing(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        transaction.emit(Opened(account="a"))
        transaction.abandon()

    await database.transact(Origin("flow"), work)
    assert await outbox(database) == []


async def test_what_a_service_does_not_declare_it_can_not_say(database: Database) -> None:
    with pytest.raises(TypeError, match="Written must be listed"):
        await _take_cash(database, Written(account="a"))
    assert await _cash(database) == 0


async def test_a_query_can_say_nothing(database: Database) -> None:
    async with database.reading() as transaction:
        with pytest.raises(TypeError, match="a query can't say"):
            transaction.emit(Opened(account="a"))


async def test_the_headers_are_those_of_cloudevents(database: Database) -> None:
    await say(database, Opened(account="a b"))
    (row,) = await outbox(database)
    headers = row.headers
    assert UUID(headers["cloudEvents_id"]).version == 7
    assert headers["cloudEvents_specversion"] == "1.0"
    assert headers["cloudEvents_type"] == Opened.topic
    assert headers["cloudEvents_source"] == "/shop"
    assert headers["cloudEvents_subject"] == "a b"
    assert datetime.now(UTC) - datetime.fromisoformat(headers["cloudEvents_time"]) < timedelta(minutes=1)
    assert headers["cloudEvents_time"].endswith("Z")
    assert (headers["correlation-id"], headers["causation-id"]) == ("flow", "cause")
    assert json.loads(row.body) == {"account": "a b", "number": 0}


async def test_an_event_carries_the_last_event_of_each_topic_before_it(database: Database) -> None:
    account = new_token()
    await say(database, Opened(account=account), Grown(account=account), Grown(account=account))
    await say(database, Closed(account=account))
    rows = await outbox(database)
    assert [row.headers["sequence"] for row in rows] == [1, 2, 3, 4]
    before = json.loads(rows[-1].headers["predecessors"])
    assert {topic: sequence for topic, (sequence, _) in before.items()} == {Opened.topic: 1, Grown.topic: 3}
    said_at = round(datetime.fromisoformat(rows[2].headers["cloudEvents_time"]).timestamp() * 1000)
    assert before[Grown.topic] == [3, said_at]
    assert json.loads(rows[0].headers["predecessors"]) == {}


async def test_a_command_has_no_sequence(database: Database) -> None:
    account = new_token()
    await say(database, Write(account=account), Opened(account=account))
    command, event = await outbox(database)
    assert "sequence" not in command.headers
    assert event.headers["sequence"] == 1


async def test_sequences_have_no_gaps_and_rows_lie_in_their_order(database: Database) -> None:
    account = new_token()

    async def one(number: int) -> None:
        if number % 5 == 0:
            with pytest.raises(ZeroDivisionError):
                await _take_cash(database, Opened(account=account), fail=True)
        await say(database, Opened(account=account, number=number), Grown(account=account))

    await asyncio.gather(*(one(number) for number in range(50)))
    assert [row.headers["sequence"] for row in await outbox(database)] == list(range(1, 101))


async def test_two_aggregates_in_opposite_order_do_not_wait_for_each_other(database: Database) -> None:
    one, other = new_token(), new_token()
    there = [Opened(account=one), Opened(account=other)]
    await asyncio.gather(*(say(database, *there[:: 1 if number % 2 else -1]) for number in range(20)))
    assert len(await outbox(database)) == 40


async def test_a_commit_wakes_the_relay_with_the_partitions_it_filled(database: Database) -> None:
    woken: list[set[int]] = []
    database.wake = woken.append
    await say(database, Opened(account="a"), Opened(account="b"))
    await say(database)
    assert woken == [{partition_of("a"), partition_of("b")}]
    database.wake = lambda _: None


async def test_aggregates_spread_over_all_partitions() -> None:
    assert {partition_of(new_token()) for _ in range(1000)} == set(range(PARTITIONS))
