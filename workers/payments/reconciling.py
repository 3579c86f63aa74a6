"""Our books and the gateway's, compared payment by payment, and healed where they differ.

Promise: every payment whose money moved at the gateway is compared with our row of its order, some time after its last
movement and by one instance at a time; money that is held or was taken without an order of ours, or a second time for
one, goes back; where only our row is behind, the gateway is looked at again. Each difference leaves an audit, written
before anything is done about it.
"""

from typing import Literal, get_args
from uuid import NAMESPACE_OID, uuid5

from prometheus_client import Counter

from broker.ids import new_token
from broker.outbox import Origin
from broker.telemetry import log
from broker.transaction import Database
from workers.payments import audits
from workers.payments.gateway import Gateway, Holding
from workers.payments.rules import Patience, Payment

DIFFERENCES = Counter("hedgerow_payments_differences", "Payments that differed from the gateway's.", ["found"])

Found = Literal["hold-without-order", "paid-without-order", "held-twice", "captured-twice", "differs"]
for _found in get_args(Found):
    DIFFERENCES.labels(_found)  # there before anything is found, so that the first one is an increase


def compare(holding: Holding, ours: Payment | None) -> Found | None:
    """How the gateway's payment differs from our row of its order; None where it does not, or is looked into."""
    if ours is None or ours.gateway_id not in (None, holding.gateway_id):
        if holding.outcome.status in ("authorised", "requires_action"):
            return "hold-without-order" if ours is None else "held-twice"
        if holding.outcome.captured > holding.refunded:
            return "paid-without-order" if ours is None else "captured-twice"
        return None
    if ours.status == "unknown":
        return None
    status = "authorised" if ours.status == "failed" else ours.status
    books = (status, ours.captured, ours.refunded)
    return None if books == (holding.outcome.status, holding.outcome.captured, holding.refunded) else "differs"


async def reconcile(database: Database, gateway: Gateway, patience: Patience) -> bool:
    """Compare the next payments; whether there may be more. Raises GatewayUnknown, and goes on there next time."""
    origin = Origin("reconciliation")
    claimed = await database.transact(origin, lambda tx: audits.claim_cursor(tx.connection, gateway.name))
    if claimed is None:
        return False
    holdings, cursor = await gateway.moved(claimed.cursor, older_than=patience.settled)
    ids = {holding.reference for holding in holdings if holding.reference is not None}
    ours = await database.read(lambda tx: audits.payments_of(tx.connection, ids))
    for holding in holdings:
        if holding.reference is not None and (found := compare(holding, ours.get(holding.reference))) is not None:
            await _heal(database, gateway, holding, found)
    await database.transact(origin, lambda tx: audits.move_cursor(tx.connection, gateway.name, cursor))
    return bool(holdings)


async def _heal(database: Database, gateway: Gateway, holding: Holding, found: Found) -> None:
    """Keys are fresh ones, since an effect is possible only once: what is let go is not held any more, and of what was
    captured no more than all goes back."""
    DIFFERENCES.labels(found).inc()
    log.error("our books and the gateway's differ", found=found, gateway_id=holding.gateway_id)
    origin = Origin(str(holding.reference))
    await database.transact(origin, lambda tx: audits.begin(tx.connection, gateway.name, holding, found))
    if found == "differs":
        done = "looked"
    elif found in ("hold-without-order", "held-twice"):
        done = (await gateway.void(holding.gateway_id, key=new_token())).status
    else:
        rest = holding.outcome.captured - holding.refunded
        refund_id = uuid5(NAMESPACE_OID, f"{holding.gateway_id} after {holding.refunded}")
        outcome = await gateway.refund(holding.gateway_id, rest, refund_id, key=new_token())
        done = "refunded" if refund_id in outcome.refunds else outcome.code or outcome.status
    await database.transact(origin, lambda tx: audits.end(tx.connection, gateway.name, holding, found, done))
