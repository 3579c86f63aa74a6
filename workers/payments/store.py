"""The SQL of payments."""

from typing import NamedTuple
from uuid import UUID

import asyncpg

from contracts.base import Money
from workers.payments.gateway import Outcome
from workers.payments.rules import Decision, Status

_CLAIM = """
INSERT INTO payments (order_id, status) VALUES ($1, 'pending')
ON CONFLICT (order_id) DO UPDATE SET updated_at = payments.updated_at
RETURNING status, amount, currency
"""
_RECORD = """
UPDATE payments SET status = $2, code = $3, gateway_id = coalesce(nullif($4, ''), gateway_id),
    amount = coalesce($5, amount), currency = coalesce($6, currency), updated_at = now()
WHERE order_id = $1
"""


class Payment(NamedTuple):
    """What is known of an order's payment; the amount only if an authorisation told it."""

    status: Status
    amount: Money | None


async def claim(connection: asyncpg.Connection, order_id: UUID) -> Payment:
    """The payment of this order, locked until the transaction ends; a pending one if nothing is known of it.

    Two first messages of an order, at the same time, come one after the other: the second waits for the first.
    """
    ((status, amount, currency),) = await connection.fetch(_CLAIM, order_id)
    return Payment(status, None if amount is None else Money(amount=amount, currency=currency))


async def record(
    connection: asyncpg.Connection, order_id: UUID, decision: Decision, outcome: Outcome, amount: Money | None = None
) -> None:
    """Write the decision down."""
    if decision.status is not None:
        told = (None, None) if amount is None else (amount.amount, amount.currency)
        await connection.execute(_RECORD, order_id, decision.status, decision.code, outcome.gateway_id, *told)
