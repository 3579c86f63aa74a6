"""From a row to what others see of it: the saga's state, and the order as its owner knows it."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any

from contracts.base import Caller, Line, Money
from contracts.orders import Order, Payment, Refund, Shipment, Step
from workers.orders.personal import Personal
from workers.orders.rules import Bought, Saga
from workers.orders.store import Row


def saga(row: Row) -> Saga:
    """What the saga needs to know of an order."""
    return Saga(
        order_id=row["id"],
        status=row["status"],
        payment=row["payment"]["status"],
        customer_id=row["customer_id"],
        bought=_bought(row["lines"]),
        total=Money(amount=row["total"], currency=row["currency"]),
        payment_method=row["payment_method"],
        reason=row["reason"],
        shipments=tuple(map(Shipment.model_validate, row.get("shipments", ()))),
        refunds=tuple(map(Refund.model_validate, row.get("refunds", ()))),
    )


def _bought(lines: Iterable[Mapping[str, Any]]) -> tuple[Bought, ...]:
    return tuple(
        Bought(line["sku"], line["quantity"], line["gross"]["amount"]) for line in lines if line["kind"] == "item"
    )


def order(row: Row, private: Personal, *, order_token: str | None = None) -> Order:
    """The order as its owner sees it."""
    return Order(
        id=row["id"],
        number=row["number"],
        status=row["status"],
        reason=row["reason"],
        lines=tuple(Line.model_validate(line) for line in row["lines"]),
        total=Money(amount=row["total"], currency=row["currency"]),
        payment=Payment.model_validate(row["payment"]),
        email=private.email,
        shipping_address=private.shipping_address,
        billing_address=private.billing_address,
        shipping_method=row["shipping_method"],
        shipments=tuple(map(Shipment.model_validate, row.get("shipments", ()))),
        refunds=tuple(map(Refund.model_validate, row.get("refunds", ()))),
        metadata=private.metadata,
        created_at=row["placed_at"],
        history=history(row),
        order_token=order_token,
    )


def history(row: Row) -> tuple[Step, ...]:
    """The statuses that the order went through."""
    return tuple(Step.model_validate(step) for step in row["history"])


def may_see(row: Row, caller: Caller, order_token: str | None) -> bool:
    """Whether the caller owns the order, works here, or has the token of a guest's order."""
    if caller.is_staff or (caller.id is not None and caller.id == row["customer_id"]):
        return True
    return (
        order_token is not None
        and row["token_hash"] is not None
        and hmac.compare_digest(token_hash(order_token), row["token_hash"])
    )


def token_hash(order_token: str) -> bytes:
    """How an order token is kept: it is random, so a plain hash is enough."""
    return hashlib.sha256(order_token.encode()).digest()
