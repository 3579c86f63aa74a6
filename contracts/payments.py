"""What is said to and by the payments service. One payment belongs to one order and is known by the order's id."""

from typing import ClassVar
from uuid import UUID

from contracts.base import Command, Event, Message, Money, Operation, Query, Secret, Slug, refusal

no_action_required = refusal("no-action-required", 404, "This payment does not wait for the customer.")
bad_signature = refusal("bad-signature", 400, "The signature of this webhook is missing, wrong or too old.")


class Redirect(Message):
    """Where the customer's browser has to go, and where it comes back to."""

    url: str
    return_url: str | None = None


class NextAction(Message):
    """What the bank wants of the customer, in the gateway's words; whatever has no address (`redirect_to_url`) is done
    by the gateway's own script with the payment's `client_secret`."""

    type: str
    redirect_to_url: Redirect | None = None


class PaymentAction(Message):
    """What the customer's browser has to do."""

    client_secret: Secret | None = None
    next_action: NextAction | None = None


class GetPaymentAction(Query[PaymentAction]):
    """What the customer of an order has to do. The orders service asks, on behalf of who may see the order."""

    topic: ClassVar[str] = "payments.get-payment-action.v1"
    refusals = (no_action_required,)
    order_id: UUID


class ReceiveWebhook(Operation[None]):
    """Keep what a gateway tells on its own account. `body` is, to the byte, what was signed."""

    topic: ClassVar[str] = "payments.receive-webhook.v1"
    refusals = (bad_signature,)
    answer_is_kept = False
    gateway: Slug
    body: str
    signature: str = ""


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
    """Nothing shall be paid for the order: what is held is let go, what was captured is given back. This stays a duty
    for as long as it is not known what the gateway has."""

    topic: ClassVar[str] = "payments.void-payment.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID


class RefundPayment(Command):
    """Give back a part of what was captured for an order, or all of it. Asked again with the same `refund_id` it has
    one effect."""

    topic: ClassVar[str] = "payments.refund-payment.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    refund_id: UUID
    amount: Money


class PaymentRequiresAction(Event):
    """The customer's bank wants to hear from the customer. What the browser has to do is not said here: ask with
    `GetPaymentAction`."""

    topic: ClassVar[str] = "payments.payment-requires-action.v1"
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


class PaymentRefunded(Event):
    """Money went back to the customer: for a refund that was asked for, or (without `refund_id`) because nothing was to
    be paid for the order. `refunded` is the sum of all that went back."""

    topic: ClassVar[str] = "payments.payment-refunded.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    refund_id: UUID | None = None
    amount: Money
    refunded: Money


class RefundFailed(Event):
    """The gateway would not give the money back; `code` is its word for why."""

    topic: ClassVar[str] = "payments.refund-failed.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    refund_id: UUID
    code: str


class PaymentVoided(Event):
    """Nothing is held for the order any more."""

    topic: ClassVar[str] = "payments.payment-voided.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
