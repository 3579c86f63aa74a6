"""The saga of an order, as a pure function: a state and a message make the next state and what is said.

Promise: a message that does not fit the state (late, repeated, meant for another life of the order) changes nothing and
says nothing, except that money which turns up for an order that is over is sent back; a result is told only when it is
final; whatever was done for an order that comes to nothing is undone. docs/orders.md has the whole table, made from
this code.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from contracts.base import Item, Money, Said
from contracts.catalog import (
    CommitStock,
    ReleaseStock,
    ReservationExpired,
    ReserveStock,
    Restock,
    StockItem,
    StockRefused,
    StockReserved,
)
from contracts.orders import (
    OrderAuthorised,
    OrderAwaitsCustomer,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderRefunded,
    OrderRejected,
    OrderReserved,
    OrderShipped,
    PaymentStatus,
    Reason,
    Refund,
    Shipment,
    Status,
)
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequiresAction,
    PaymentVoided,
    RefundFailed,
    RefundPayment,
    VoidPayment,
)


class Bought(NamedTuple):
    """A line of goods: so many of a product, for so much in all (gross, in minor units)."""

    sku: str
    quantity: int
    gross: int


@dataclass(frozen=True, slots=True)
class Saga:
    """What the saga needs to know of an order."""

    order_id: UUID
    status: Status
    payment: PaymentStatus
    customer_id: UUID | None
    bought: tuple[Bought, ...]
    total: Money
    payment_method: str
    reason: Reason | None = None
    shipments: tuple[Shipment, ...] = ()
    refunds: tuple[Refund, ...] = ()

    @property
    def items(self) -> tuple[StockItem, ...]:
        """What of the order comes out of the stock."""
        return tuple(StockItem(sku=line.sku, quantity=line.quantity) for line in self.bought)


UNDER_WAY = frozenset({"placed", "reserved", "authorised"})
"""The statuses that the saga leaves by itself."""
OPEN = UNDER_WAY | {"awaiting-customer"}
"""Those and the one that waits for a person: what is under way in the eyes of the shop."""


# --- what people and clocks say to an order ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Cancelled:
    """The customer, or the shop, calls the order off."""


@dataclass(frozen=True)
class TimedOut:
    """Who was to pay or to answer did not in time."""


@dataclass(frozen=True)
class ParcelLeft:
    """A shipment is on its way."""

    shipment: Shipment


@dataclass(frozen=True)
class ParcelsArrived:
    """One shipment arrived, or all that are on their way."""

    at: datetime
    shipment_id: UUID | None = None


@dataclass(frozen=True)
class RefundAsked:
    """Money is to go back."""

    refund: Refund


@dataclass(frozen=True)
class Patience:
    """How long an order waits: for the gateway's word, and for a customer whose bank asks. A customer's time to answer
    is shorter, the reservation of the stock longer."""

    payment: timedelta = timedelta(minutes=20)
    customer: timedelta = timedelta(minutes=40)

    def within(self, status: Status) -> timedelta | None:
        """How long an order may stay like this; None: as long as it takes."""
        waits: dict[Status, timedelta] = {
            "reserved": self.payment,
            "awaiting-customer": self.customer,
            "authorised": self.payment,
        }
        return waits.get(status)


Input = Said | Cancelled | TimedOut | ParcelLeft | ParcelsArrived | RefundAsked
Decision = tuple[Saga, tuple[Said, ...]]
"""The next state, and what is said because of it."""


def begin(saga: Saga) -> Said:
    """What follows from placing an order."""
    return ReserveStock(order_id=saga.order_id, items=saga.items)


def decide(saga: Saga, message: Input) -> Decision:
    """The next state and what is said; the same state and nothing if the message does not fit."""
    transition = _TRANSITIONS.get((saga.status, type(message)))
    return (saga, ()) if transition is None else transition(saga, message)


# --- questions about an order -----------------------------------------------------------------------------------------


def left_to_ship(saga: Saga) -> dict[str, int]:
    """What has not left the house and is still to, by sku."""
    left = Counter({line.sku: line.quantity for line in saga.bought})
    left.subtract(_shipped_of(saga))
    left.subtract(counted(item for refund in _standing(saga) for item in refund.never_shipped))
    return {sku: quantity for sku, quantity in left.items() if quantity > 0}


def refundable(saga: Saga) -> int:
    """How much was captured and is neither given back nor about to be, in minor units."""
    captured = saga.total.amount if saga.payment in ("captured", "partially-refunded") else 0
    return max(0, captured - sum(refund.amount.amount for refund in _standing(saga)))


def plan_refund(
    saga: Saga, refund_id: UUID, *, amount: Money | None, lines: Iterable[Item] | None, restock: bool, now: datetime
) -> Refund | None:
    """The refund that was asked for; None where it is more than there is. Without an amount it is what the lines cost,
    without lines all that is left."""
    before = counted(item for refund in _standing(saga) for item in refund.lines)
    left = {line.sku: line.quantity - before[line.sku] for line in saga.bought}
    wanted = counted(lines) if lines is not None else Counter(left if restock else {})
    if any(quantity > left.get(sku, 0) for sku, quantity in wanted.items()):
        return None
    if amount is not None:
        sum_ = amount.amount
    elif lines is not None:
        sum_ = sum(_share(line, before[line.sku], wanted[line.sku]) for line in saga.bought)
    else:
        sum_ = refundable(saga)
    if not 0 < sum_ <= refundable(saga):
        return None
    return Refund(
        id=refund_id,
        amount=Money(amount=sum_, currency=saga.total.currency),
        status="pending",
        lines=_items(wanted),
        never_shipped=_items(wanted - _with_the_customer(saga)) if restock else (),
        restock=restock,
        created_at=now,
    )


def _share(line: Bought, before: int, wanted: int) -> int:
    """What `wanted` more pieces of a line cost, so that all of them together cost the line's gross amount."""
    return line.gross * (before + wanted) // line.quantity - line.gross * before // line.quantity


def _items(quantities: Counter[str]) -> tuple[StockItem, ...]:
    return tuple(StockItem(sku=sku, quantity=quantity) for sku, quantity in quantities.items() if quantity)


def _with_the_customer(saga: Saga) -> Counter[str]:
    """What has left the house and has not come back."""
    out = _shipped_of(saga)
    for refund in _standing(saga):
        if refund.restock:
            out -= counted(refund.lines) - counted(refund.never_shipped)
    return out


def _shipped_of(saga: Saga) -> Counter[str]:
    return counted(item for shipment in saga.shipments for item in shipment.lines)


def _standing(saga: Saga) -> Iterable[Refund]:
    return (refund for refund in saga.refunds if refund.status != "failed")


def counted(items: Iterable[Item | StockItem]) -> Counter[str]:
    """How many of each sku."""
    quantities: Counter[str] = Counter()
    for item in items:
        quantities[item.sku] += item.quantity
    return quantities


# --- transitions ------------------------------------------------------------------------------------------------------

_TRANSITIONS: dict[tuple[Status, type[Any]], Callable[[Saga, Any], Decision]] = {}
_Transition = Callable[[Saga, Any], Decision]

_PAYING: tuple[Status, ...] = ("reserved", "awaiting-customer")
_OVER: tuple[Status, ...] = ("rejected", "cancelled")
FINAL: tuple[Status, ...] = (*_OVER, "refunded")
"""Statuses that nothing leads out of."""
_PAID: tuple[Status, ...] = ("confirmed", "shipped", "delivered")


def _on(message: type[Any], *statuses: Status) -> Callable[[_Transition], _Transition]:
    def register(transition: _Transition) -> _Transition:
        _TRANSITIONS.update({(status, message): transition for status in statuses})
        return transition

    return register


@_on(StockReserved, "placed")
def _reserved(saga: Saga, _: StockReserved) -> Decision:
    ask = AuthorisePayment(order_id=saga.order_id, amount=saga.total, payment_method=saga.payment_method)
    return replace(saga, status="reserved"), (OrderReserved(order_id=saga.order_id), ask)


@_on(StockRefused, "placed")
def _out_of_stock(saga: Saga, _: StockRefused) -> Decision:
    return _reject(replace(saga, payment="voided"), "out-of-stock")


@_on(PaymentRequiresAction, "reserved")
def _awaiting(saga: Saga, _: PaymentRequiresAction) -> Decision:
    waiting = replace(saga, status="awaiting-customer", payment="requires-action")
    return waiting, (OrderAwaitsCustomer(order_id=saga.order_id),)


@_on(PaymentAuthorised, *_PAYING)
def _authorised(saga: Saga, _: PaymentAuthorised) -> Decision:
    said = (OrderAuthorised(order_id=saga.order_id), CapturePayment(order_id=saga.order_id))
    return replace(saga, status="authorised", payment="authorised"), said


@_on(PaymentDeclined, *_PAYING)
def _declined(saga: Saga, _: PaymentDeclined) -> Decision:
    return _reject(replace(saga, payment="declined"), "payment-declined", ReleaseStock(order_id=saga.order_id))


@_on(PaymentCaptured, "authorised")
def _captured(saga: Saga, _: PaymentCaptured) -> Decision:
    confirmed = OrderConfirmed(order_id=saga.order_id, customer_id=saga.customer_id, items=saga.items, total=saga.total)
    return replace(saga, status="confirmed", payment="captured"), (confirmed, CommitStock(order_id=saga.order_id))


@_on(CaptureFailed, "authorised")
def _capture_failed(saga: Saga, _: CaptureFailed) -> Decision:
    return _reject(replace(saga, payment="failed"), "capture-failed", *_undo(saga))


@_on(TimedOut, *_PAYING, "authorised")
@_on(ReservationExpired, *_PAYING, "authorised")
def _timed_out(saga: Saga, _: TimedOut | ReservationExpired) -> Decision:
    return _reject(replace(saga, payment="unknown"), "payment-timeout", *_undo(saga))


@_on(Cancelled, "placed")
def _cancelled_before_anything(saga: Saga, _: Cancelled) -> Decision:
    return _cancel(replace(saga, payment="voided"), ReleaseStock(order_id=saga.order_id))


@_on(Cancelled, *_PAYING, "authorised")
def _cancelled_while_paying(saga: Saga, _: Cancelled) -> Decision:
    return _cancel(saga, *_undo(saga))


@_on(Cancelled, "confirmed")
def _cancelled_after_paying(saga: Saga, _: Cancelled) -> Decision:
    """Not while a refund is under way: together they could be more than what was captured."""
    if saga.shipments or any(refund.status == "pending" for refund in saga.refunds):
        return saga, ()
    return _cancel(saga, *_undo(saga))


@_on(PaymentRequiresAction, *_OVER)
@_on(PaymentAuthorised, *_OVER)
@_on(PaymentCaptured, *_OVER)
def _money_of_the_dead(saga: Saga, _: Said) -> Decision:
    return saga, (VoidPayment(order_id=saga.order_id),)


@_on(PaymentVoided, *_OVER)
def _voided(saga: Saga, _: PaymentVoided) -> Decision:
    return replace(saga, payment="voided"), ()


@_on(ParcelLeft, "confirmed")
def _shipped(saga: Saga, parcel: ParcelLeft) -> Decision:
    left, leaving = left_to_ship(saga), counted(parcel.shipment.lines)
    if not leaving or any(quantity > left.get(sku, 0) for sku, quantity in leaving.items()):
        return saga, ()
    after = _shipped_if_all_is_gone(replace(saga, shipments=(*saga.shipments, parcel.shipment)))
    said = OrderShipped(
        order_id=saga.order_id,
        customer_id=saga.customer_id,
        shipment_id=parcel.shipment.id,
        items=parcel.shipment.lines,
        complete=after.status == "shipped",
    )
    return after, (said,)


@_on(ParcelsArrived, "confirmed", "shipped")
def _delivered(saga: Saga, arrived: ParcelsArrived) -> Decision:
    shipments = tuple(
        shipment.model_copy(update={"delivered_at": arrived.at})
        if shipment.delivered_at is None and arrived.shipment_id in (None, shipment.id)
        else shipment
        for shipment in saga.shipments
    )
    after = replace(saga, shipments=shipments)
    if saga.status != "shipped" or not all(shipment.delivered_at for shipment in shipments):
        return after, ()
    said = OrderDelivered(order_id=saga.order_id, customer_id=saga.customer_id)
    return replace(after, status="delivered"), (said,)


@_on(RefundAsked, *_PAID)
def _refunding(saga: Saga, asked: RefundAsked) -> Decision:
    refund = asked.refund
    if refund.amount.amount > refundable(saga):
        return saga, ()
    said = RefundPayment(order_id=saga.order_id, refund_id=refund.id, amount=refund.amount)
    return replace(saga, refunds=(*saga.refunds, refund)), (said,)


@_on(PaymentRefunded, *_PAID, *_OVER, "refunded")
def _refunded(saga: Saga, told: PaymentRefunded) -> Decision:
    in_full = told.refunded.amount >= saga.total.amount
    after = replace(saga, payment="refunded" if in_full else "partially-refunded")
    refund = next((refund for refund in saga.refunds if refund.id == told.refund_id), None)
    if refund is None:
        return after, ()
    if refund.status == "refunded":
        return saga, ()
    after = _with(after, refund.model_copy(update={"status": "refunded"}))
    is_refunded = saga.status in _PAID and in_full
    after = replace(after, status="refunded") if is_refunded else _shipped_if_all_is_gone(after)
    said: list[Said] = [
        OrderRefunded(
            order_id=saga.order_id,
            customer_id=saga.customer_id,
            refund_id=refund.id,
            amount=told.amount,
            refunded=told.refunded,
        )
    ]
    if refund.restock and refund.lines:
        said.append(Restock(order_id=saga.order_id, refund_id=refund.id, items=refund.lines))
    return after, tuple(said)


@_on(RefundFailed, *_PAID)
def _refund_failed(saga: Saga, told: RefundFailed) -> Decision:
    refund = next((one for one in saga.refunds if one.id == told.refund_id and one.status == "pending"), None)
    if refund is None:
        return saga, ()
    return _shipped_if_all_is_gone(_with(saga, refund.model_copy(update={"status": "failed"}))), ()


def _shipped_if_all_is_gone(saga: Saga) -> Saga:
    """Not while goods stay in the house only because of a refund that may fail."""
    awaited = any(refund.status == "pending" and refund.never_shipped for refund in saga.refunds)
    if saga.status != "confirmed" or not saga.shipments or awaited or left_to_ship(saga):
        return saga
    return replace(saga, status="shipped")


def _undo(saga: Saga) -> tuple[Said, Said]:
    return VoidPayment(order_id=saga.order_id), ReleaseStock(order_id=saga.order_id)


def _reject(saga: Saga, reason: Reason, *undo: Said) -> Decision:
    rejected = OrderRejected(order_id=saga.order_id, customer_id=saga.customer_id, reason=reason)
    return replace(saga, status="rejected", reason=reason), (rejected, *undo)


def _cancel(saga: Saga, *undo: Said) -> Decision:
    cancelled = OrderCancelled(order_id=saga.order_id, customer_id=saga.customer_id)
    return replace(saga, status="cancelled"), (cancelled, *undo)


def _with(saga: Saga, changed: Refund) -> Saga:
    return replace(saga, refunds=tuple(changed if refund.id == changed.id else refund for refund in saga.refunds))
