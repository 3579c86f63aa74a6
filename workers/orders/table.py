"""The saga as a table for docs/orders.md, made by asking the rules: `just documents` writes it anew.

Promise: a row stands for what `decide` does, so the page can't say what the code does not.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from uuid import UUID

from contracts.base import Money
from contracts.catalog import ReservationExpired, StockItem, StockRefused, StockReserved
from contracts.orders import Refund, Shipment, Status
from contracts.payments import (
    CaptureFailed,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequiresAction,
    PaymentVoided,
    RefundFailed,
)
from workers.orders.rules import (
    Bought,
    Cancelled,
    Input,
    ParcelLeft,
    ParcelsArrived,
    Patience,
    RefundAsked,
    Saga,
    TimedOut,
    decide,
)

_INTRODUCTION = """\
# The life of an order

Made from the code (`workers/orders/rules.py`) by `./justw documents`. An order is in one status; a message, a clock or
a person moves it. What is not in the table changes nothing and says nothing. What is said leaves with the transaction
that changes the order.
"""
_ID, _NOW, _TOTAL, _HALF = UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), 1000, 500


def page() -> str:
    """The whole page."""
    lines = ["| status | when | becomes | is said |", "|---|---|---|---|", *_rows()]
    return f"{_INTRODUCTION}\n" + "\n".join(lines) + f"\n\n{_waits()}\n"


def _rows() -> Iterator[str]:
    for status in get_args(Status):
        for when, message in _inputs():
            saga = _saga(status, settles=not isinstance(message, Cancelled | ParcelLeft))
            after, said = decide(saga, message)
            if after == saga and not said:
                continue
            becomes = after.status if after.status != status else ""
            reason = f" ({after.reason})" if after.reason != saga.reason else ""
            words = ", ".join(type(one).__name__ for one in said)
            yield f"| {status} | {when} | {becomes}{reason} | {words} |"


def _waits() -> str:
    patience = Patience()
    waits = [
        f"`{status}` for {int(wait.total_seconds() // 60)} minutes"
        for status in get_args(Status)
        if (wait := patience.within(status)) is not None
    ]
    return f"An order stays {', '.join(waits)} at most; then its time has run out."


def _saga(status: Status, *, settles: bool) -> Saga:
    paid = status in ("confirmed", "shipped", "delivered", "refunded")
    saga = Saga(
        order_id=_ID,
        status=status,
        payment="captured" if paid else "pending",
        customer_id=None,
        bought=(Bought("sku", 2, _TOTAL),),
        total=_money(_TOTAL),
        payment_method="",
    )
    if status in ("shipped", "delivered"):
        saga = replace(saga, shipments=(_shipment(2),))
    return replace(saga, refunds=(_refund(1), _refund(2))) if paid and settles and status != "refunded" else saga


def _inputs() -> Iterator[tuple[str, Input]]:
    told = [
        StockReserved(order_id=_ID),
        StockRefused(order_id=_ID, skus=("sku",)),
        PaymentRequiresAction(order_id=_ID),
        PaymentAuthorised(order_id=_ID, amount=_money(_TOTAL)),
        PaymentDeclined(order_id=_ID, code=""),
        PaymentCaptured(order_id=_ID, amount=_money(_TOTAL)),
        CaptureFailed(order_id=_ID, code=""),
        PaymentVoided(order_id=_ID),
        ReservationExpired(order_id=_ID),
    ]
    yield from ((type(message).__name__, message) for message in told)
    yield "its time has run out", TimedOut()
    yield "it is cancelled", Cancelled()
    yield "a parcel leaves, more is to come", ParcelLeft(_shipment(1))
    yield "the last parcel leaves", ParcelLeft(_shipment(2))
    yield "the last parcel arrives", ParcelsArrived(_NOW)
    yield "a refund is asked for", RefundAsked(_refund(3, amount=0))
    yield "PaymentRefunded, of a part", _paid_back(_HALF)
    yield "PaymentRefunded, all of it", _paid_back(_TOTAL)
    yield "RefundFailed", RefundFailed(order_id=_ID, refund_id=UUID(int=1), code="")


def _paid_back(refunded: int) -> PaymentRefunded:
    return PaymentRefunded(order_id=_ID, refund_id=UUID(int=1), amount=_money(_HALF), refunded=_money(refunded))


def _refund(number: int, *, amount: int = _HALF) -> Refund:
    line = StockItem(sku="sku", quantity=1)
    return Refund(
        id=UUID(int=number), amount=_money(amount), status="pending", lines=(line,), restock=True, created_at=_NOW
    )


def _shipment(quantity: int) -> Shipment:
    line = StockItem(sku="sku", quantity=quantity)
    return Shipment(id=UUID(int=quantity), lines=(line,), carrier="", tracking="", shipped_at=_NOW)


def _money(amount: int) -> Money:
    return Money(amount=amount, currency="EUR")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
