"""What is said to and by the payments service. One payment belongs to one order and is known by the order's id."""

from typing import ClassVar
from uuid import UUID

from contracts.base import Command, Event, Money


class AuthorisePayment(Command):
    """Ask the gateway to hold the money for an order."""

    topic: ClassVar[str] = "payments.authorise-payment.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    amount: Money
    payment_method: str


class CapturePayment(Command):
    """Take the money that is held for an order."""

    topic: ClassVar[str] = "payments.capture-payment.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID


class VoidPayment(Command):
    """Let go of the money that is held for an order, if any."""

    topic: ClassVar[str] = "payments.void-payment.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID


class PaymentAuthorised(Event):
    """The gateway holds the money."""

    topic: ClassVar[str] = "payments.payment-authorised.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    amount: Money


class PaymentDeclined(Event):
    """The gateway holds nothing; `code` is the gateway's word for why."""

    topic: ClassVar[str] = "payments.payment-declined.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    code: str


class PaymentCaptured(Event):
    """The money is ours."""

    topic: ClassVar[str] = "payments.payment-captured.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    amount: Money


class CaptureFailed(Event):
    """The gateway would not capture what it had authorised."""

    topic: ClassVar[str] = "payments.capture-failed.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    code: str


class PaymentVoided(Event):
    """Nothing is held for the order any more."""

    topic: ClassVar[str] = "payments.payment-voided.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
