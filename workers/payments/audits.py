"""The SQL of the reconciliation: where it stands, and what it found and did."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

import asyncpg

from workers.payments import store
from workers.payments.gateway import Holding
from workers.payments.rules import Payment

_CLAIM_CURSOR = """
INSERT INTO reconciliations AS standing (gateway, claimed_until) VALUES ($1, now() + interval '60 seconds')
ON CONFLICT (gateway) DO UPDATE SET claimed_until = excluded.claimed_until WHERE standing.claimed_until <= now()
RETURNING cursor
"""
_MOVE_CURSOR = "UPDATE reconciliations SET cursor = $2, claimed_until = now() WHERE gateway = $1"
_BEGIN = """
INSERT INTO audits (gateway, gateway_id, order_id, found, amount, currency) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (gateway, gateway_id, found) WHERE done IS NULL DO NOTHING
"""
_LOOK_AGAIN = "UPDATE payments SET check_at = now(), checks = 0 WHERE order_id = $1"
_END = """
UPDATE audits SET done = $4, done_at = now() WHERE gateway = $1 AND gateway_id = $2 AND found = $3 AND done IS NULL
"""


class Standing(NamedTuple):
    """Up to where the gateway's movements were compared; None: from the beginning."""

    cursor: str | None


async def claim_cursor(connection: asyncpg.Connection, gateway: str) -> Standing | None:
    """Where to go on; None while somebody else is at it."""
    rows = await connection.fetch(_CLAIM_CURSOR, gateway)
    return Standing(rows[0]["cursor"]) if rows else None


async def move_cursor(connection: asyncpg.Connection, gateway: str, cursor: str | None) -> None:
    """Everything up to here is compared."""
    await connection.execute(_MOVE_CURSOR, gateway, cursor)


async def payments_of(connection: asyncpg.Connection, order_ids: Collection[UUID]) -> dict[UUID, Payment]:
    """Our payments of these orders."""
    found = await store.find_all(connection, order_ids)
    return {payment.order_id: payment for payment in found}


async def begin(connection: asyncpg.Connection, gateway: str, holding: Holding, found: str) -> None:
    """Write down what was found, once as long as nothing was done about it."""
    money = (holding.amount.amount, holding.amount.currency)
    await connection.execute(_BEGIN, gateway, holding.gateway_id, holding.reference, found, *money)


async def end(connection: asyncpg.Connection, gateway: str, holding: Holding, found: str, done: str) -> None:
    """Write down what was done about it; where our row is behind, it is looked into at once."""
    await connection.execute(_END, gateway, holding.gateway_id, found, done)
    if done == "looked":
        await connection.execute(_LOOK_AGAIN, holding.reference)
