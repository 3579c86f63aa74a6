"""The SQL of the orders service."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Caller
from contracts.orders import ListOrders, Status
from workers.orders.rules import Saga
from workers.orders.tables import OrderRow

Row = Mapping[str, Any]
"""An order by the names of its columns."""
_table = OrderRow.__table__  # type: ignore[attr-defined]
_GIVEN = [column for column in _table.columns if column.name != "number"]
_ADD = f"""
INSERT INTO orders ({", ".join(column.name for column in _GIVEN)}, number)
VALUES ({", ".join(f"${place}" for place in range(1, len(_GIVEN) + 1))}, nextval('order_numbers'))
RETURNING number
"""  # noqa: S608 - names of columns
_LOCK = """
SELECT id, status, reason, payment, customer_id, lines, total, currency, payment_method
FROM orders WHERE id = $1 FOR UPDATE
"""
_NOTE = """
UPDATE orders SET status = $2, reason = $3,
    payment = payment || jsonb_build_object('status', $4::text), history = history || $5::jsonb
WHERE id = $1
"""


async def add(connection: asyncpg.Connection, row: Row) -> str:
    """Write a new order down; returns its number, which no other order has."""
    values = [row[column.name] for column in _GIVEN]
    written = [
        json.dumps(value) if isinstance(column.type, JSONB) and value is not None else value
        for column, value in zip(_GIVEN, values, strict=True)
    ]
    return str(await connection.fetchval(_ADD, *written))


async def find(connection: asyncpg.Connection, order_id: UUID) -> Row | None:
    """An order."""
    row = await connection.fetchrow("SELECT * FROM orders WHERE id = $1", order_id)
    return None if row is None else dict(row)


async def lock(connection: asyncpg.Connection, order_id: UUID) -> Row:
    """What the saga needs of an order, which nobody else changes until the transaction ends. Raises LookupError."""
    row = await connection.fetchrow(_LOCK, order_id)
    if row is None:
        raise LookupError(f"there is no order {order_id}")
    return dict(row)


async def page(session: AsyncSession, question: ListOrders, caller: Caller, before: UUID | None) -> list[Row]:
    """The caller's orders (staff: everybody's), newest first, one more than asked for if there are more."""
    statement = select(_table).order_by(_table.c.id.desc()).limit(question.limit + 1)
    if not caller.is_staff:
        statement = statement.where(_table.c.customer_id == caller.id)
    if question.status is not None:
        statement = statement.where(_table.c.status == question.status)
    if question.since is not None:
        statement = statement.where(_table.c.placed_at >= question.since)
    if question.q is not None:
        statement = statement.where(_table.c.number == question.q)
    if before is not None:
        statement = statement.where(_table.c.id < before)
    return [dict(row) for row in (await session.execute(statement)).mappings()]


async def note(connection: asyncpg.Connection, saga: Saga) -> None:
    """Write a new state down, with its time."""
    now = json.dumps([step(saga.status, datetime.now(UTC))])
    await connection.execute(_NOTE, saga.order_id, saga.status, saga.reason, saga.payment, now)


def step(status: Status, at: datetime) -> dict[str, str]:
    """An entry of an order's history."""
    return {"status": status, "at": at.isoformat(timespec="milliseconds")}
