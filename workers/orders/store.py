"""The SQL of the orders service."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Caller
from contracts.orders import ListOrders, Status
from workers.orders.rules import Saga
from workers.orders.tables import NUMBERS, OrderRow

_table = OrderRow.__table__  # type: ignore[attr-defined]


async def next_number(session: AsyncSession) -> str:
    """A number that no order has."""
    return str((await session.execute(select(NUMBERS.next_value()))).scalar_one())


async def find(session: AsyncSession, order_id: UUID) -> OrderRow | None:
    """An order."""
    return await session.get(OrderRow, order_id)


async def lock(session: AsyncSession, order_id: UUID) -> OrderRow:
    """An order that nobody else changes until the transaction ends. Raises NoResultFound."""
    return await session.get_one(OrderRow, order_id, with_for_update=True)


async def page(session: AsyncSession, question: ListOrders, caller: Caller, before: UUID | None) -> list[OrderRow]:
    """The caller's orders (staff: everybody's), newest first, one more than asked for if there are more."""
    statement = select(OrderRow).order_by(_table.c.id.desc()).limit(question.limit + 1)
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
    return list((await session.execute(statement)).scalars())


def note(row: OrderRow, saga: Saga) -> None:
    """Write a new state into an order's row, with its time."""
    row.status, row.reason = saga.status, saga.reason
    row.payment = {**row.payment, "status": saga.payment}
    row.history = [*row.history, step(saga.status, datetime.now(UTC))]


def step(status: Status, at: datetime) -> dict[str, str]:
    """An entry of an order's history."""
    return {"status": status, "at": at.isoformat(timespec="milliseconds")}
