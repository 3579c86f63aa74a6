"""The SQL of payments."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Money
from workers.payments.gateway import Outcome
from workers.payments.rules import Decision
from workers.payments.tables import PaymentRow


async def claim(db: AsyncSession, order_id: UUID) -> PaymentRow:
    """The payment of this order, locked until the transaction ends; a pending one if nothing is known of it.

    Two first messages of an order, at the same time, come one after the other: the second waits for the first.
    """
    claimed = insert(PaymentRow).values(order_id=order_id, status="pending")
    claimed = claimed.on_conflict_do_update(index_elements=["order_id"], set_={"updated_at": PaymentRow.updated_at})
    rows = await db.scalars(claimed.returning(PaymentRow), execution_options={"populate_existing": True})
    return rows.one()


def amount_of(payment: PaymentRow) -> Money | None:
    """What the payment is about, if an authorisation told."""
    if payment.amount is None or payment.currency is None:
        return None
    return Money(amount=payment.amount, currency=payment.currency)


def record(payment: PaymentRow, decision: Decision, outcome: Outcome, amount: Money | None = None) -> None:
    """Write the decision down; it is stored when the transaction commits."""
    if decision.status is None:
        return
    payment.status, payment.code = decision.status, decision.code
    payment.gateway_id = outcome.gateway_id or payment.gateway_id
    payment.updated_at = datetime.now(UTC)
    if amount is not None:
        payment.amount, payment.currency = amount.amount, amount.currency
