"""What the orders service tells of its sagas, from its own table."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from broker.ids import new_id
from broker.migrate import migrate
from broker.reader import Reader
from contracts.base import Money
from tests.support.counting import Counting
from workers.orders import figures
from workers.orders.rules import OPEN, Saga

_ADD = """
INSERT INTO orders (id, number, status, total, currency, payment_method, lines, payment, metadata, history,
    placed_at, due_at)
VALUES ($1, $2, $3, 1, 'EUR', 'pm', '[]', '{}', '{}', '[]', now() - $4::interval, now() - $5::interval)
"""


class Orders:
    """The table, without the service: its chores would end the waits that are overdue here."""

    def __init__(self, connection: asyncpg.Connection, reader: Reader) -> None:
        self._connection = connection
        self.reader = reader

    async def add(self, status: str, *, age: timedelta, overdue: timedelta | None = None) -> None:
        order_id = new_id()
        await self._connection.execute(_ADD, order_id, str(order_id), status, age, overdue)

    async def empty(self) -> None:
        await self._connection.execute("TRUNCATE orders")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def table(shared_database: str) -> AsyncIterator[Orders]:
    await migrate(shared_database, "workers.orders.migrations")
    connection, reader = await asyncpg.connect(shared_database), Reader(shared_database, service="orders")
    yield Orders(connection, reader)
    await connection.close()
    await reader.close()


@pytest_asyncio.fixture(loop_scope="module")
async def orders(table: Orders) -> Orders:
    await table.empty()
    return table


@pytest.mark.servers
@pytest.mark.asyncio(loop_scope="module")
async def test_without_orders_every_status_stands_at_zero(orders: Orders) -> None:
    nothing = dict.fromkeys(OPEN, 0.0)
    assert await figures.count_open(orders.reader) == nothing
    assert await figures.age_of_the_oldest(orders.reader) == nothing
    assert await figures.overdue(orders.reader) == 0


@pytest.mark.servers
@pytest.mark.asyncio(loop_scope="module")
async def test_orders_under_way_are_counted_and_the_oldest_tells_its_age(orders: Orders) -> None:
    for minutes in (9, 3, 1):
        await orders.add("placed", age=timedelta(minutes=minutes))
    await orders.add("confirmed", age=timedelta(days=1))
    assert (await figures.count_open(orders.reader))["placed"] == 3
    ages = await figures.age_of_the_oldest(orders.reader)
    assert 540 <= ages["placed"] < 600
    assert set(ages) == OPEN


@pytest.mark.servers
@pytest.mark.asyncio(loop_scope="module")
async def test_the_longest_overdue_is_told_and_who_still_has_time_is_not(orders: Orders) -> None:
    await orders.add("reserved", age=timedelta(hours=1), overdue=timedelta(minutes=-5))
    assert await figures.overdue(orders.reader) == 0
    await orders.add("reserved", age=timedelta(hours=1), overdue=timedelta(minutes=2))
    assert 120 <= await figures.overdue(orders.reader) < 180


@pytest.mark.parametrize(("after", "times"), [("confirmed", 1), ("rejected", 1), ("authorised", 0), ("placed", 0)])
async def test_an_order_that_is_settled_tells_how_long_it_took(after: str, times: int) -> None:
    counted = Counting("hedgerow_order_seconds_count", status=after)
    took = Counting("hedgerow_order_seconds_sum", status=after)
    figures.note(saga("placed"), saga(after), datetime.now(UTC) - timedelta(seconds=3))
    assert counted.more == times
    assert took.more == pytest.approx(3 * times, abs=1)


def saga(status: Any) -> Saga:
    return Saga(UUID(int=1), status, "pending", None, (), Money(amount=1, currency="EUR"), "pm")
