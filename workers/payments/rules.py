"""What becomes of a payment: pure functions from what we know and what the gateway says.

A fact is said once: a command that comes again, under whatever id, changes nothing and says nothing. The first saying
is in the outbox already, and a second `PaymentCaptured` could be counted as more money.
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from contracts.base import Command, Event, Money
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentVoided,
    VoidPayment,
)
from workers.payments.gateway import Outcome

Status = Literal["pending", "authorised", "captured", "declined", "failed", "voided"]
"""`pending`: nothing is known yet. `failed`: the money is held and could not be taken. `voided`: nothing is held, and
nothing shall be; also of an order whose authorisation never came."""


class TooEarly(Exception):
    """Another message of this order has to be worked off first."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The payment's next status and code, and what is said. Without a status, the payment stays as it is."""

    status: Status | None = None
    code: str | None = None
    events: tuple[Event, ...] = ()
    commands: tuple[Command, ...] = ()


def after_authorising(status: Status, command: AuthorisePayment, outcome: Outcome) -> Decision:
    """A payment that was voided before its money was held must not keep it: it is voided once more."""
    held = outcome.status in ("authorised", "captured")
    if status == "voided" and held:
        return Decision(commands=(VoidPayment(order_id=command.order_id),))
    if status != "pending":
        return Decision()
    if held:
        said = PaymentAuthorised(order_id=command.order_id, amount=command.amount)
        return Decision(status="authorised", events=(said,))
    code = outcome.code or ("gateway_timeout" if outcome.status == "nothing" else outcome.status)
    return Decision(status="declined", code=code, events=(PaymentDeclined(order_id=command.order_id, code=code),))


def after_capturing(status: Status, order_id: UUID, amount: Money | None, outcome: Outcome) -> Decision:
    """Raises `TooEarly` for a payment that is not authorised yet."""
    if status == "pending":
        raise TooEarly(f"the payment of order {order_id} is not authorised yet")
    if amount is not None and status in ("authorised", "failed") and outcome.status == "captured":
        return Decision(status="captured", events=(PaymentCaptured(order_id=order_id, amount=amount),))
    if status != "authorised":
        return Decision()
    code = outcome.code or outcome.status
    return Decision(status="failed", code=code, events=(CaptureFailed(order_id=order_id, code=code),))


def after_voiding(status: Status, order_id: UUID, amount: Money | None, outcome: Outcome) -> Decision:
    """Money that turns out to be captured can't be let go: that fact is said instead.

    Raises `TooEarly` where the gateway does not say (yet) that the money is let go.
    """
    if status in ("voided", "captured"):
        return Decision()
    if outcome.status == "captured":
        return after_capturing(status, order_id, amount, outcome)
    if outcome.status in ("authorised", "requires_action") or (outcome.status == "nothing" and status == "authorised"):
        raise TooEarly(f"the gateway says '{outcome.status}' of order {order_id}, whose payment is {status}")
    return Decision(status="voided", events=(PaymentVoided(order_id=order_id),))
