"""The SQL of stock and reservations.

Promise: no interleaving oversells. The rows of an order are locked before they are looked at, always in the order of
their skus, so that orders with products in common wait for each other and never deadlock; the database's own check
(reserved <= on_hand) stands behind that. The reservation's row is written first: it decides which of an order's
commands has an effect.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Text, bindparam, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from broker.ids import new_id
from contracts.catalog import MoveStock, StockLevel
from workers.catalog.tables import MovementRow, ReservationRow, StockRow

_LOCK = text(
    "SELECT sku, on_hand - reserved AS available FROM stock WHERE sku = ANY(:skus) ORDER BY sku FOR UPDATE"
).bindparams(bindparam("skus", type_=ARRAY(Text)))

_TAKE = text(
    "UPDATE stock SET reserved = reserved + :promised * quantity, on_hand = on_hand + :bought * quantity"
    " FROM unnest(:skus, :quantities) AS taken (taken_sku, quantity) WHERE sku = taken_sku"
).bindparams(bindparam("skus", type_=ARRAY(Text)), bindparam("quantities", type_=ARRAY(BigInteger)))


async def reserve(db: AsyncSession, items: Mapping[str, int]) -> tuple[str, ...]:
    """Sets aside all of the items (sku -> quantity) or none; returns the skus of which there is not enough."""
    found = await db.execute(_LOCK, {"skus": list(items)})
    available = {row.sku: row.available for row in found}
    short = tuple(sku for sku, quantity in items.items() if available.get(sku, 0) < quantity)
    if not short:
        await _take(db, items, promised=1, bought=0)
    return short


async def give_back(db: AsyncSession, items: Mapping[str, int]) -> None:
    """What was reserved is available again."""
    await db.execute(_LOCK, {"skus": list(items)})
    await _take(db, items, promised=-1, bought=0)


async def sell(db: AsyncSession, items: Mapping[str, int]) -> None:
    """What was reserved leaves the stock."""
    await db.execute(_LOCK, {"skus": list(items)})
    await _take(db, items, promised=-1, bought=-1)


async def _take(db: AsyncSession, items: Mapping[str, int], *, promised: int, bought: int) -> None:
    rows = {"skus": list(items), "quantities": list(items.values())}
    await db.execute(_TAKE, rows | {"promised": promised, "bought": bought})


# --- reservations -----------------------------------------------------------------------------------------------------


async def open_reservation(db: AsyncSession, order_id: UUID, items: Mapping[str, int], expires_at: datetime) -> bool:
    """The first word about an order: False where there was one already, also one that is being said at this moment."""
    row = {"order_id": order_id, "state": "reserved", "items": items, "expires_at": expires_at}
    opened = upsert(ReservationRow).values(row).on_conflict_do_nothing().returning(col(ReservationRow.order_id))
    return await db.scalar(opened) is not None


async def refuse_reservation(db: AsyncSession, order_id: UUID) -> None:
    """Remembers that the order holds nothing, so that a repeat is not tried again."""
    row = ReservationRow
    await db.execute(update(row).where(col(row.order_id) == order_id).values(state="refused", expires_at=None))


async def release_reservation(db: AsyncSession, order_id: UUID) -> dict[str, int]:
    """What the order held and holds no longer. Where nothing is known of the order, the release is remembered."""
    row = {"order_id": order_id, "state": "released", "items": {}}
    released = (
        upsert(ReservationRow)
        .values(row)
        .on_conflict_do_update(
            index_elements=["order_id"], set_={"state": "released"}, where=col(ReservationRow.state) == "reserved"
        )
    )
    return await db.scalar(released.returning(col(ReservationRow.items))) or {}


async def commit_reservation(db: AsyncSession, order_id: UUID) -> dict[str, int]:
    """What the order held and has bought now; nothing where it did not hold anything (any more).

    Raises `UnknownReservation` where nothing is known of the order: what it bought must not be forgotten.
    """
    row = ReservationRow
    held = update(row).where(col(row.order_id) == order_id, col(row.state) == "reserved").values(state="committed")
    items = await db.scalar(held.returning(col(row.items)))
    if items is None and await db.scalar(select(col(row.state)).where(col(row.order_id) == order_id)) is None:
        raise UnknownReservation(order_id)
    return items or {}


class UnknownReservation(Exception):
    """Stock of an order is to be committed before any was reserved. Passing: the reservation is on its way."""


# --- movements --------------------------------------------------------------------------------------------------------


async def move(db: AsyncSession, ask: MoveStock) -> StockLevel | None:
    """The level after the movement; None where there is no such product or it would fall below what is reserved."""
    row, after = StockRow, col(StockRow.on_hand) + ask.delta
    moved = update(row).where(col(row.sku) == ask.sku, after >= col(row.reserved)).values(on_hand=after)
    level = (await db.execute(moved.returning(col(row.on_hand), col(row.reserved)))).one_or_none()
    if level is None:
        return None
    on_hand, reserved = level
    return StockLevel(sku=ask.sku, on_hand=on_hand, reserved=reserved, available=on_hand - reserved)


async def is_known(db: AsyncSession, sku: str) -> bool:
    """Whether there is such a product."""
    return await db.scalar(select(col(StockRow.sku)).where(col(StockRow.sku) == sku)) is not None


async def record_movement(db: AsyncSession, ask: MoveStock, on_hand: int, by: UUID | None, now: datetime) -> None:
    """Remembers who moved what, and why."""
    movement = {"id": new_id(), "sku": ask.sku, "delta": ask.delta, "on_hand": on_hand, "moved_by": by}
    movement |= {"reason": ask.reason, "reference": ask.reference, "moved_at": now}
    await db.execute(insert(MovementRow).values(movement))
