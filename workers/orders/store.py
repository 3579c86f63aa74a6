"""The SQL of the orders service."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Caller, Message
from contracts.orders import ListOrders, Status
from workers.orders.rules import Saga
from workers.orders.tables import IN_THE_CLEAR, OrderRow

Row = Mapping[str, Any]
"""An order by the names of its columns."""
_table = OrderRow.__table__  # type: ignore[attr-defined]
_LATER = {"number", "shipments", "refunds", "due_at", "email", "shipping_address", "billing_address", "metadata"}
_GIVEN = [column for column in _table.columns if column.name not in _LATER]
_ADD = f"""
INSERT INTO orders ({", ".join(column.name for column in _GIVEN)}, number)
VALUES ({", ".join(f"${place}" for place in range(1, len(_GIVEN) + 1))}, nextval('order_numbers'))
RETURNING number
"""  # noqa: S608 - names of columns
_FIND = "SELECT * FROM orders WHERE id = $1"
_FIND_AND_LOCK = f"{_FIND} FOR UPDATE"
_LOCK = """
SELECT id, status, reason, payment, customer_id, lines, total, currency, payment_method, shipments, refunds, placed_at
FROM orders WHERE id = $1 FOR UPDATE
"""
_LOCK_OVERDUE = _LOCK.replace("id = $1 FOR UPDATE", "due_at <= now() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED")
_NOTE = """
UPDATE orders SET status = $2, reason = $3, payment = payment || jsonb_build_object('status', $4::text),
    history = history || $5::jsonb, due_at = CASE WHEN status = $2 THEN due_at ELSE now() + $6::interval END
WHERE id = $1
"""
_IN_THE_CLEAR = f"""
SELECT id, customer_id, email, shipping_address, billing_address, metadata FROM orders
WHERE {IN_THE_CLEAR} LIMIT $1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - a constant
_PUT_AWAY = """
UPDATE orders SET personal = $2, email = NULL, shipping_address = NULL, billing_address = NULL, metadata = '{}'
WHERE id = $1
"""
_NOTE_GOODS = "UPDATE orders SET shipments = $2, refunds = $3 WHERE id = $1"


async def add(connection: asyncpg.Connection, row: Row) -> str:
    """Write a new order down; returns its number, which no other order has."""
    values = [row[column.name] for column in _GIVEN]
    written = [
        json.dumps(value) if isinstance(column.type, JSONB) and value is not None else value
        for column, value in zip(_GIVEN, values, strict=True)
    ]
    return str(await connection.fetchval(_ADD, *written))


async def in_the_clear(connection: asyncpg.Connection, limit: int) -> list[Row]:
    """Some orders, locked, that tell who the customer is."""
    return [dict(row) for row in await connection.fetch(_IN_THE_CLEAR, limit)]


async def put_away(connection: asyncpg.Connection, order_id: UUID, personal: bytes | None) -> None:
    """Have it sealed, and nothing in the clear."""
    await connection.execute(_PUT_AWAY, order_id, personal)


async def find(connection: asyncpg.Connection, order_id: UUID, *, lock: bool = False) -> Row | None:
    """An order; with `lock`, nobody else changes it until the transaction ends."""
    row = await connection.fetchrow(_FIND_AND_LOCK if lock else _FIND, order_id)
    return None if row is None else dict(row)


async def lock(connection: asyncpg.Connection, order_id: UUID) -> Row:
    """What the saga needs of an order, which nobody else changes until the transaction ends. Raises LookupError."""
    row = await connection.fetchrow(_LOCK, order_id)
    if row is None:
        raise LookupError(f"there is no order {order_id}")
    return dict(row)


async def lock_overdue(connection: asyncpg.Connection) -> Row | None:
    """The same of an order whose time has run out, if there is one that nobody looks after right now."""
    row = await connection.fetchrow(_LOCK_OVERDUE)
    return None if row is None else dict(row)


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


async def note(connection: asyncpg.Connection, before: Saga, after: Saga, *, wait: timedelta | None) -> None:
    """Write a new state down, with its time; `wait` is how long a new status may last."""
    new = [step(after.status, datetime.now(UTC))] if after.status != before.status else []
    await connection.execute(_NOTE, after.order_id, after.status, after.reason, after.payment, json.dumps(new), wait)
    if (after.shipments, after.refunds) != (before.shipments, before.refunds):
        goods = (_json(after.shipments), _json(after.refunds))
        await connection.execute(_NOTE_GOODS, after.order_id, *goods)


def _json(messages: Iterable[Message]) -> str:
    return json.dumps([message.model_dump(mode="json") for message in messages])


def step(status: Status, at: datetime) -> dict[str, str]:
    """An entry of an order's history."""
    return {"status": status, "at": at.isoformat(timespec="milliseconds")}
