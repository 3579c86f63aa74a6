"""The SQL of payments."""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg

from broker.reader import Reader
from contracts.base import Money
from contracts.payments import PaymentAction
from workers.payments.gateway import Webhook
from workers.payments.rules import Payment, Refund, When

LEASE = timedelta(seconds=60)
"""How long whoever asks the gateway about a payment has it to himself."""
AT_ONCE = 20

_COLUMNS = """order_id, goal, status, amount, currency, method, gateway_id, code, captured, client_secret,
    next_action::text AS next_action, said"""
_REFUND_COLUMNS = "refund_id, amount, status, code, asked_for"
_REFUNDS = f"SELECT {_REFUND_COLUMNS} FROM refunds WHERE order_id = $1 ORDER BY created_at"  # noqa: S608 - constants
_FIND = f"SELECT {_COLUMNS}, false AS quiet FROM payments WHERE order_id = $1"  # noqa: S608 - constants
_FIND_ALL = f"SELECT {_COLUMNS}, false AS quiet FROM payments WHERE order_id = ANY($1)"  # noqa: S608 - constants
_CLAIM = f"""
INSERT INTO payments (order_id) VALUES ($1)
ON CONFLICT (order_id) DO UPDATE SET updated_at = payments.updated_at
RETURNING {_COLUMNS}, coalesce(unknown_since < now() - $2::interval, false) AS quiet
"""  # noqa: S608 - constants
_CLAIM_DUE = f"""
UPDATE payments SET checks = checks + 1, check_at = now() + $2::interval
WHERE order_id IN (
    SELECT order_id FROM payments WHERE check_at <= now() AND (checks > 0) = $1
    ORDER BY check_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
RETURNING {_COLUMNS}, false AS quiet
"""  # noqa: S608 - constants
_RECORD = """
UPDATE payments SET goal = $2, status = $3, amount = $4, currency = $5, method = $6, gateway_id = $7, code = $8,
    captured = $9, client_secret = $10, next_action = $11::jsonb, said = $12, updated_at = now(),
    unknown_since = CASE WHEN $3 <> 'unknown' THEN NULL WHEN $13 THEN now()
        ELSE coalesce(unknown_since, now()) END,
    checks = CASE $14 WHEN 'later' THEN greatest(checks, 1) ELSE 0 END,
    check_at = CASE $14 WHEN 'now' THEN now()
        WHEN 'later' THEN now() + least(60, 2 ^ greatest(checks - 1, 0)) * interval '1 second' END
WHERE order_id = $1
"""
_RECORD_REFUND = """
INSERT INTO refunds (refund_id, order_id, amount, status, code, asked_for) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (refund_id) DO UPDATE SET status = $4, code = $5, updated_at = now()
"""
_KEEP_WEBHOOK = """
WITH kept AS (
    INSERT INTO webhooks (gateway, event_id, type, order_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
    RETURNING order_id
)
UPDATE payments SET check_at = now(), checks = 0 FROM kept
WHERE payments.order_id = kept.order_id AND (payments.check_at IS NOT NULL OR payments.status <> $5)
"""
_PRUNE_WEBHOOKS = "DELETE FROM webhooks WHERE received_at < now() - interval '30 days'"
_ACTION = """
SELECT jsonb_build_object('client_secret', client_secret, 'next_action', next_action)::text FROM payments
WHERE order_id = $1 AND status = 'requires_action' AND goal <> 'nothing'
"""


async def find(reader: Reader, order_id: UUID) -> Payment:
    """The payment of this order as it was a moment ago; a pending one if nothing is known of it."""
    row = await reader.fetchrow(_FIND, order_id)
    if row is None:
        return Payment(order_id=order_id)
    return _payment(row, await reader.fetch(_REFUNDS, order_id) if row["status"] == "captured" else ())


async def find_all(connection: asyncpg.Connection, order_ids: Collection[UUID]) -> list[Payment]:
    """What is known of the payments of these orders."""
    rows = await connection.fetch(_FIND_ALL, order_ids)
    return [_payment(row, await _refunds(connection, row)) for row in rows]


async def find_action(reader: Reader, order_id: UUID) -> PaymentAction | None:
    """What the customer has to do for this order, if anything."""
    row = await reader.fetchrow(_ACTION, order_id)
    return None if row is None else PaymentAction.model_validate_json(row[0])


async def keep_webhook(connection: asyncpg.Connection, gateway: str, webhook: Webhook) -> None:
    """Remember what the gateway told; told for the first time, and news to us, it is looked into at once."""
    told = (webhook.event_id, webhook.type, webhook.reference, webhook.status)
    await connection.execute(_KEEP_WEBHOOK, gateway, *told)


async def prune_webhooks(connection: asyncpg.Connection) -> None:
    """Forget webhooks that are too old to come again: the gateway gives up after three days."""
    await connection.execute(_PRUNE_WEBHOOKS)


async def claim(
    connection: asyncpg.Connection, order_id: UUID, *, quiet_after: timedelta, with_refunds: bool
) -> Payment:
    """The payment of this order, locked until the transaction ends; a pending one if nothing is known of it. One that
    is captured always comes with its refunds.

    Two first messages of an order, at the same time, come one after the other: the second waits for the first, and what
    the first did to the refunds only a statement of its own sees.
    """
    (row,) = await connection.fetch(_CLAIM, order_id, quiet_after)
    return _payment(row, await _refunds(connection, row, wanted=with_refunds))


async def claim_due(connection: asyncpg.Connection, *, tried: bool) -> list[Payment]:
    """Payments that the gateway has to be asked about now, some of those that nobody asks about already: those that it
    was asked about in vain before, or the others."""
    rows = await connection.fetch(_CLAIM_DUE, tried, LEASE, AT_ONCE)
    return [_payment(row, await _refunds(connection, row)) for row in rows]


async def _refunds(
    connection: asyncpg.Connection, row: asyncpg.Record, *, wanted: bool = False
) -> Sequence[asyncpg.Record]:
    """The usual payment has none when it is claimed, and nobody asks for them."""
    return await connection.fetch(_REFUNDS, row["order_id"]) if wanted or row["status"] == "captured" else ()


async def record(connection: asyncpg.Connection, before: Payment, after: Payment, *, lost: bool, again: When) -> None:
    """Write down what is known of a payment now; `lost`: a request may still be under way."""
    if after.amount is None:
        amount = currency = None
    else:
        amount, currency = after.amount.amount, after.amount.currency
    await connection.execute(
        _RECORD,
        after.order_id,
        after.goal,
        after.status,
        amount,
        currency,
        after.method,
        after.gateway_id,
        after.code,
        after.captured,
        after.client_secret,
        None if after.next_action is None else json.dumps(after.next_action),
        sorted(after.said),
        lost,
        again,
    )
    for refund in _changed(before.refunds, after.refunds):
        values = (refund.amount, refund.status, refund.code, refund.asked_for)
        await connection.execute(_RECORD_REFUND, refund.refund_id, after.order_id, *values)


def _changed(before: Iterable[Refund], after: Iterable[Refund]) -> list[Refund]:
    known = set(before)
    return [refund for refund in after if refund not in known]


def _payment(row: asyncpg.Record, refunds: Iterable[asyncpg.Record]) -> Payment:
    return Payment(
        order_id=row["order_id"],
        goal=row["goal"],
        status=row["status"],
        amount=None if row["amount"] is None else Money(amount=row["amount"], currency=row["currency"]),
        method=row["method"],
        gateway_id=row["gateway_id"],
        code=row["code"],
        captured=row["captured"],
        client_secret=row["client_secret"],
        next_action=None if row["next_action"] is None else json.loads(row["next_action"]),
        refunds=tuple(Refund(**refund) for refund in refunds),
        said=frozenset(row["said"]),
        quiet=row["quiet"],
    )
