"""The SQL of stock and reservations.

Promise: no interleaving oversells. The rows of an order are locked before they are looked at, always in the order of
their skus (by code point, in Python as in SQL), so that orders with products in common wait for each other and never
deadlock; the database's own check (reserved <= on_hand) stands behind that. The reservation's row is written first: it
decides which of an order's commands has an effect.
"""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from broker.ids import new_id
from contracts.catalog import MoveStock, ReservationExpired, StockLevel
from workers.catalog.tables import MovementRow, StockRow

_LOCK = """
SELECT sku, on_hand - reserved AS available FROM stock WHERE sku = ANY($1) ORDER BY sku COLLATE "C" FOR UPDATE
"""
_TAKE = "UPDATE stock SET reserved = reserved + $2, on_hand = on_hand + $3 WHERE sku = $1"
_OPEN = """
INSERT INTO reservations (order_id, state, items, expires_at) VALUES ($1, 'reserved', $2, $3)
ON CONFLICT DO NOTHING RETURNING true
"""
_REFUSE = "UPDATE reservations SET state = 'refused', expires_at = NULL WHERE order_id = $1"
_REMEMBER_RELEASE = """
INSERT INTO reservations (order_id, state, items) VALUES ($1, 'released', '{}') ON CONFLICT DO NOTHING RETURNING true
"""
_LOCK_RESERVATION = "SELECT state, items, returned FROM reservations WHERE order_id = $1 FOR UPDATE"
_LOCK_OVERDUE = """
SELECT order_id, items FROM reservations WHERE state = 'reserved' AND expires_at <= now()
ORDER BY expires_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_CHANGE = "UPDATE reservations SET state = $2, items = $3 WHERE order_id = $1"
_COMMIT = """
UPDATE reservations SET state = 'committed' WHERE order_id = $1 AND state = 'reserved' RETURNING items, returned
"""
_REMEMBER_RETURN = "UPDATE reservations SET returned = $2 WHERE order_id = $1"


async def reserve(db: asyncpg.Connection, items: Mapping[str, int]) -> tuple[str, ...]:
    """Sets aside all of the items (sku -> quantity) or none; returns the skus of which there is not enough."""
    available = {row["sku"]: row["available"] for row in await db.fetch(_LOCK, list(items))}
    short = tuple(sku for sku, quantity in items.items() if available.get(sku, 0) < quantity)
    if not short:
        await _take(db, items, promised=1, bought=0)
    return short


async def _take(db: asyncpg.Connection, items: Mapping[str, int], *, promised: int, bought: int) -> None:
    await db.executemany(_TAKE, [(sku, promised * many, bought * many) for sku, many in sorted(items.items())])


# --- reservations -----------------------------------------------------------------------------------------------------


async def open_reservation(
    db: asyncpg.Connection, order_id: UUID, items: Mapping[str, int], expires_at: datetime
) -> bool:
    """The first word about an order: False where there was one already, also one that is being said at this moment."""
    return await db.fetchval(_OPEN, order_id, json.dumps(items), expires_at) is not None


async def refuse_reservation(db: asyncpg.Connection, order_id: UUID) -> None:
    """Remembers that the order holds nothing, so that a repeat is not tried again."""
    await db.execute(_REFUSE, order_id)


async def release(db: asyncpg.Connection, order_id: UUID) -> tuple[str, ...]:
    """Give back what the order holds, reserved or bought; the skus that are for sale again. Where nothing is known of
    the order, the release is remembered, and the reservation that comes later finds it."""
    if await db.fetchval(_REMEMBER_RELEASE, order_id):
        return ()
    ((state, items, _),) = await db.fetch(_LOCK_RESERVATION, order_id)
    if state == "reserved":
        await _take(db, items, promised=-1, bought=0)
    elif state == "committed":
        await _take(db, items, promised=0, bought=1)
    elif state != "expired":
        return ()
    await db.execute(_CHANGE, order_id, "released", json.dumps(items))
    return () if state == "expired" else tuple(items)


async def commit(db: asyncpg.Connection, order_id: UUID) -> tuple[str, ...]:
    """What the order holds is sold, less what came back already. If its reservation has expired, it is taken from what
    is available now. The skus of which there is more or less for sale now.

    Raises `UnknownReservation` where nothing is known of the order, and `Oversold` where there is not enough any more:
    what it bought must not be forgotten.
    """
    row = await db.fetchrow(_COMMIT, order_id)
    was_expired = row is None
    if row is None:
        row = await db.fetchrow(_LOCK_RESERVATION, order_id)
        if row is None:
            raise UnknownReservation(order_id)
        if row["state"] != "expired":
            return ()
        if short := await reserve(db, row["items"]):
            raise Oversold(order_id, short)
        await db.execute(_CHANGE, order_id, "committed", json.dumps(row["items"]))
    await _take(db, row["items"], promised=-1, bought=-1)
    if row["returned"]:
        await _put_back(db, order_id, row["items"], row["returned"])
    return tuple(row["items"] if was_expired else row["returned"])


async def restock(db: asyncpg.Connection, order_id: UUID, items: Mapping[str, int]) -> tuple[str, ...]:
    """Of what the order bought, so much came back; where the word that it bought is still on its way, that is
    remembered. The skus that are for sale again. Raises `UnknownReservation` where nothing is known of the order."""
    row = await db.fetchrow(_LOCK_RESERVATION, order_id)
    if row is None:
        raise UnknownReservation(order_id)
    if row["state"] == "committed":
        await _put_back(db, order_id, row["items"], items)
        return tuple(items)
    if row["state"] in ("reserved", "expired"):
        await db.execute(_REMEMBER_RETURN, order_id, json.dumps(dict(Counter(row["returned"]) + Counter(items))))
    return ()


async def _put_back(
    db: asyncpg.Connection, order_id: UUID, bought: Mapping[str, int], items: Mapping[str, int]
) -> None:
    kept = {sku: quantity - items.get(sku, 0) for sku, quantity in bought.items()}
    await _take(db, items, promised=0, bought=1)
    await db.execute(_CHANGE, order_id, "committed", json.dumps({sku: left for sku, left in kept.items() if left}))


async def expire(db: asyncpg.Connection) -> ReservationExpired | None:
    """Make the goods of one overdue reservation available again."""
    row = await db.fetchrow(_LOCK_OVERDUE)
    if row is None:
        return None
    await _take(db, row["items"], promised=-1, bought=0)
    await db.execute(_CHANGE, row["order_id"], "expired", json.dumps(row["items"]))
    return ReservationExpired(order_id=row["order_id"], skus=tuple(row["items"]))


class UnknownReservation(Exception):
    """Stock of an order is sold, or comes back, before any was reserved. Passing: the reservation is on its way."""


class Oversold(Exception):
    """An order is paid whose reservation has expired, and its goods are gone."""


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
