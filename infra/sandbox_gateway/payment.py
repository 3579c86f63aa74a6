"""What the gateway holds and says: payments, requests for them, answers and errors in Stripe's forms."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Status = Literal["requires_action", "authorised", "captured", "voided", "declined"]
Kind = Literal["authorised", "captured", "voided", "declined", "refunded"]
ErrorType = Literal["invalid_request_error", "idempotency_error", "card_error", "api_error"]


class NewPayment(BaseModel):
    """A request to hold `amount` minor units of `currency`; `reference` is the client's own id."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    reference: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    amount: Annotated[int, Field(ge=1, le=10**12)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    payment_method: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class NewRefund(BaseModel):
    """A request to give `amount` minor units of a payment back; `reference` is the client's own id of the refund."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    amount: Annotated[int, Field(ge=1, le=10**12)]
    reference: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Payment(NewPayment):
    """A payment as it stands. `code` says why it was declined, or what it waits for; with the `client_secret` the
    customer's browser may ask about it."""

    id: str
    object: Literal["payment"] = "payment"
    status: Status
    code: str | None = None
    amount_captured: int = 0
    amount_refunded: int = 0
    refunds: list[NewRefund] = []
    client_secret: str | None = None
    next_action: dict[str, Any] | None = None
    created_at: str


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, as it is kept for its idempotency key."""

    status: int
    body: str


def now(*, earlier: float = 0.0) -> str:
    """The time in UTC, RFC 3339, or what it was so many seconds earlier."""
    moment = datetime.now(UTC) - timedelta(seconds=earlier)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def success(payment: Payment) -> Answer:
    """The payment itself."""
    return Answer(200, payment.model_dump_json())


def error(status: int, type_: ErrorType, code: str, message: str, payment: Payment | None = None) -> Answer:
    """An error object as Stripe writes it, with the payment it is about."""
    about = {} if payment is None else {"payment": payment.model_dump()}
    return Answer(status, json.dumps({"error": {"type": type_, "code": code, "message": message, **about}}))
