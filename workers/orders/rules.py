"""The saga of an order, as a pure function: a state and a message make the next state and what is said.

Promise: a message that does not fit the state (late, repeated, meant for another life of the order) changes nothing and
says nothing; a result is told only when it is final; whatever was done for an order that is rejected is undone.

    placed ── StockReserved ──> reserved ── PaymentAuthorised ──> authorised ── PaymentCaptured ──> confirmed
      └─ StockRefused ─> rejected   └─ PaymentDeclined ─> rejected   └─ CaptureFailed ─> rejected
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from contracts.base import Money, Said
from contracts.catalog import CommitStock, ReleaseStock, ReserveStock, StockItem, StockRefused, StockReserved
from contracts.orders import (
    OrderAuthorised,
    OrderConfirmed,
    OrderRejected,
    OrderReserved,
    PaymentStatus,
    Reason,
    Status,
)
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    VoidPayment,
)


@dataclass(frozen=True, slots=True)
class Saga:
    """What the saga needs to know of an order."""

    order_id: UUID
    status: Status
    payment: PaymentStatus
    customer_id: UUID | None
    items: tuple[StockItem, ...]
    total: Money
    payment_method: str
    reason: Reason | None = None


UNDER_WAY = frozenset({"placed", "reserved", "authorised"})
"""The statuses that the saga leaves by itself."""

Decision = tuple[Saga, tuple[Said, ...]]
"""The next state, and what is said because of it."""


def begin(saga: Saga) -> Said:
    """What follows from placing an order."""
    return ReserveStock(order_id=saga.order_id, items=saga.items)


def decide(saga: Saga, message: Said) -> Decision:
    """The next state and what is said; the same state and nothing if the message does not fit."""
    transition = _TRANSITIONS.get((saga.status, type(message)))
    return (saga, ()) if transition is None else transition(saga, message)


def _reserved(saga: Saga, _: Any) -> Decision:
    ask = AuthorisePayment(order_id=saga.order_id, amount=saga.total, payment_method=saga.payment_method)
    return replace(saga, status="reserved"), (OrderReserved(order_id=saga.order_id), ask)


def _out_of_stock(saga: Saga, _: Any) -> Decision:
    return _reject(replace(saga, payment="voided"), "out-of-stock")


def _authorised(saga: Saga, _: Any) -> Decision:
    said = (OrderAuthorised(order_id=saga.order_id), CapturePayment(order_id=saga.order_id))
    return replace(saga, status="authorised", payment="authorised"), said


def _declined(saga: Saga, _: Any) -> Decision:
    return _reject(replace(saga, payment="declined"), "payment-declined", ReleaseStock(order_id=saga.order_id))


def _captured(saga: Saga, _: Any) -> Decision:
    confirmed = OrderConfirmed(order_id=saga.order_id, customer_id=saga.customer_id, items=saga.items, total=saga.total)
    return replace(saga, status="confirmed", payment="captured"), (confirmed, CommitStock(order_id=saga.order_id))


def _capture_failed(saga: Saga, _: Any) -> Decision:
    undo = (VoidPayment(order_id=saga.order_id), ReleaseStock(order_id=saga.order_id))
    return _reject(replace(saga, payment="failed"), "capture-failed", *undo)


def _reject(saga: Saga, reason: Reason, *undo: Said) -> Decision:
    rejected = OrderRejected(order_id=saga.order_id, customer_id=saga.customer_id, reason=reason)
    return replace(saga, status="rejected", reason=reason), (rejected, *undo)


_TRANSITIONS: dict[tuple[Status, type[Said]], Callable[[Saga, Any], Decision]] = {
    ("placed", StockReserved): _reserved,
    ("placed", StockRefused): _out_of_stock,
    ("reserved", PaymentAuthorised): _authorised,
    ("reserved", PaymentDeclined): _declined,
    ("authorised", PaymentCaptured): _captured,
    ("authorised", CaptureFailed): _capture_failed,
}
