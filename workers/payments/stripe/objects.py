"""What Stripe says, as far as we read it, and what that means to us.

A payment is a PaymentIntent whose metadata names our order, a refund one whose metadata names ours as well.
https://docs.stripe.com/payments/paymentintents/lifecycle
"""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, StringConstraints

from contracts.base import Money
from workers.payments.gateway import GatewayUnknown, Holding, Outcome

ORDER, REFUND = "order", "refund"
"""The keys of our metadata."""
Status = Literal["requires_action", "authorised", "captured", "voided", "declined"]
_STATUS: dict[str, Status] = {
    "requires_confirmation": "requires_action",
    "requires_action": "requires_action",
    "requires_capture": "authorised",
    "succeeded": "captured",
    "canceled": "voided",
}


class Charge(BaseModel):
    """The money of an intent."""

    amount_refunded: int


class PaymentError(BaseModel):
    """Why an intent was not paid."""

    code: str | None = None


class Listed(BaseModel):
    """A PaymentIntent of anybody's, who may use it as they like."""

    id: str
    created: int
    metadata: Any = None

    @property
    def order(self) -> object:
        """The order that it says it is for."""
        return self.metadata.get(ORDER) if isinstance(self.metadata, dict) else None


class Intent(BaseModel):
    """A PaymentIntent. It keeps its last error until it is confirmed once more."""

    id: str
    status: Literal[
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "processing",
        "requires_capture",
        "succeeded",
        "canceled",
    ]
    amount: int
    currency: str
    amount_received: int | None = None
    metadata: dict[str, str] = {}
    client_secret: str | None = None
    next_action: dict[str, Any] | None = None
    last_payment_error: PaymentError | None = None
    latest_charge: Charge | str | None = None

    @property
    def captured(self) -> int:
        """How much was taken, in minor units."""
        if self.status != "succeeded":
            return 0
        return self.amount if self.amount_received is None else self.amount_received

    @property
    def refunded(self) -> int:
        """How much of it went back, by whomever, if its charge was asked for."""
        return self.latest_charge.amount_refunded if isinstance(self.latest_charge, Charge) else 0

    @property
    def may_be_refunded(self) -> bool:
        """Whether there may be refunds: unless its charge says that there are none."""
        return self.status == "succeeded" and (not isinstance(self.latest_charge, Charge) or self.refunded > 0)

    def outcome(self, refunds: frozenset[UUID] = frozenset()) -> Outcome:
        """What became of the payment. Raises GatewayUnknown where Stripe does not know yet."""
        status = _status(self.status, is_refused=self.last_payment_error is not None)
        if status is None:
            raise GatewayUnknown(f"Stripe is still {self.status}")
        error = self.last_payment_error
        return Outcome(
            status=status,
            gateway_id=self.id,
            code=error.code or "declined" if error and status == "declined" else None,
            captured=self.captured,
            refunds=refunds,
            client_secret=self.client_secret,
            next_action=self.next_action,
        )

    def holding(self, refunds: frozenset[UUID]) -> Holding:
        """The payment in Stripe's books."""
        return Holding(
            gateway_id=self.id,
            reference=as_uuid(self.metadata.get(ORDER)),
            amount=Money(amount=self.amount, currency=self.currency.upper()),
            refunded=self.refunded,
            outcome=self.outcome(refunds),
        )


class Refund(BaseModel):
    """A Refund. One that is pending will be made: Stripe tells if it fails after all."""

    status: str | None
    failure_reason: str | None = None
    metadata: dict[str, str] = {}

    @property
    def is_made(self) -> bool:
        """Whether the money goes back."""
        return self.status in ("succeeded", "pending", "requires_action")


class _Subject(BaseModel):
    object: dict[str, Any]


class Event(BaseModel):
    """Something that happened; `data.object` is what it happened to, as it was then."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    type: Annotated[str, StringConstraints(max_length=255)]
    created: int
    data: _Subject

    @property
    def intent_id(self) -> str | None:
        """The payment that it is about: itself, or what a charge, a refund or a dispute belongs to."""
        subject = self.data.object
        found = subject.get("id" if subject.get("object") == "payment_intent" else "payment_intent")
        return found if isinstance(found, str) else None

    @property
    def reference(self) -> UUID | None:
        """Our order that it is about. A charge has the metadata of its payment."""
        metadata = self.data.object.get("metadata")
        return as_uuid(metadata.get(ORDER)) if isinstance(metadata, dict) else None

    @property
    def status(self) -> str:
        """What became of the payment, in our words; empty where it says something else."""
        subject = self.data.object
        if subject.get("object") != "payment_intent":
            return ""
        return _status(str(subject.get("status")), is_refused=bool(subject.get("last_payment_error"))) or ""


def as_uuid(text: object) -> UUID | None:
    """None for what is not ours."""
    try:
        return UUID(str(text))
    except ValueError:
        return None


def _status(status: str, *, is_refused: bool) -> Status | None:
    if status == "requires_payment_method":
        return "declined" if is_refused else "requires_action"
    return _STATUS.get(status)
