"""What must be true when everything has come to rest."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from contracts.base import Said
from contracts.orders import OrderCancelled, OrderConfirmed, OrderRejected, Status
from tests.drills.simulation.bus import Bus
from tests.drills.simulation.catalog import Catalog
from tests.drills.simulation.gateway import Gateway
from tests.drills.simulation.orders import Orders
from tests.drills.simulation.payments import Payments
from workers.orders.rules import Saga, counted, left_to_ship

PAID: tuple[Status, ...] = ("confirmed", "shipped", "delivered", "refunded")
OVER: tuple[Status, ...] = ("rejected", "cancelled")
_RESULTS: dict[type[Said], Status] = {
    OrderConfirmed: "confirmed",
    OrderRejected: "rejected",
    OrderCancelled: "cancelled",
}
_MAY_FOLLOW: Mapping[Status, set[Status]] = {
    "placed": {"reserved", "rejected", "cancelled"},
    "reserved": {"awaiting-customer", "authorised", "rejected", "cancelled"},
    "awaiting-customer": {"authorised", "rejected", "cancelled"},
    "authorised": {"confirmed", "rejected", "cancelled"},
    "confirmed": {"shipped", "refunded", "cancelled"},
    "shipped": {"delivered", "refunded"},
    "delivered": {"refunded"},
    "rejected": set(),
    "cancelled": set(),
    "refunded": set(),
}


@dataclass(frozen=True)
class Books:
    """The books of a world that has come to rest."""

    given: Mapping[str, int]
    orders: Orders
    catalog: Catalog
    payments: Payments
    gateway: Gateway
    bus: Bus

    def what_is_wrong(self) -> list[str]:
        """Each invariant that does not hold, and where."""
        return [f"{check.__doc__} {wrong}" for check in INVARIANTS for wrong in check(self)]


Check = Callable[[Books], Iterable[str]]
INVARIANTS: list[Check] = []


def _invariant(check: Check) -> Check:
    INVARIANTS.append(check)
    return check


def _of_each_order(check: Callable[[Books, Saga], bool]) -> Check:
    """An invariant that is true of an order or not."""

    def check_all(books: Books) -> Iterable[str]:
        return [f"Not so: {saga}" for saga in books.orders.sagas.values() if not check(books, saga)]

    check_all.__doc__ = check.__doc__
    return _invariant(check_all)


@_of_each_order
def _is_decided(_: Books, saga: Saga) -> bool:
    """Every order ends."""
    return saga.status in (*PAID, *OVER)


@_of_each_order
def _went_a_way_that_there_is(books: Books, saga: Saga) -> bool:
    """A result is told once, and stays."""
    way, told = books.orders.statuses[saga.order_id], Counter(books.orders.told[saga.order_id])
    as_told = all(told[event] == way.count(status) for event, status in _RESULTS.items())
    return as_told and all(after in _MAY_FOLLOW[before] for before, after in pairwise(way))


@_of_each_order
def _was_captured_once_or_never(books: Books, saga: Saga) -> bool:
    """An order is captured once, in total, or never."""
    captured = _entries(books, "captured", saga.order_id)
    needed = saga.status in PAID
    return captured in ([], [saga.total.amount]) and (not needed or bool(captured))


@_of_each_order
def _holds_no_money(books: Books, saga: Saga) -> bool:
    """No hold stays open, and no bank waits for a customer."""
    mine = [money for money in books.gateway.payments.values() if money.reference == str(saga.order_id)]
    return all(money.status not in ("authorised", "requires-action") for money in mine)


@_of_each_order
def _keeps_what_it_paid(books: Books, saga: Saga) -> bool:
    """What was captured and not given back is what the order says."""
    kept = sum(_entries(books, "captured", saga.order_id)) - sum(_entries(books, "refunded", saga.order_id))
    given_back = sum(refund.amount.amount for refund in saga.refunds if refund.status == "refunded")
    return kept == (saga.total.amount - given_back if saga.status in PAID else 0)


@_of_each_order
def _says_where_its_money_is(books: Books, saga: Saga) -> bool:
    """An order says truly where its money is."""
    captured, back = (sum(_entries(books, kind, saga.order_id)) for kind in ("captured", "refunded"))
    if not captured:
        return saga.payment in ("voided", "declined")
    return saga.payment == ("captured" if not back else "refunded" if back == captured else "partially-refunded")


@_of_each_order
def _refunds_are_settled(_: Books, saga: Saga) -> bool:
    """Every refund ends, and all of them together are not more than was paid."""
    back = sum(refund.amount.amount for refund in saga.refunds if refund.status == "refunded")
    return back <= saga.total.amount and all(refund.status != "pending" for refund in saga.refunds)


@_of_each_order
def _is_shipped_when_nothing_is_left(_: Books, saga: Saga) -> bool:
    """No more is shipped than was bought, and an order is shipped when nothing is left to ship."""
    bought, gone = Counter[str](), counted(line for parcel in saga.shipments for line in parcel.lines)
    for line in saga.bought:
        bought[line.sku] += line.quantity
    complete = not left_to_ship(saga)
    right = {"shipped": complete, "delivered": complete, "confirmed": not (complete and saga.shipments)}
    return gone <= bought and right.get(saga.status, True)


@_of_each_order
def _holds_what_it_bought(books: Books, saga: Saga) -> bool:
    """The catalogue has sold to an order what the order has bought and not given back."""
    held = books.catalog.reservations[saga.order_id]
    return held.state not in ("reserved", "expired") and +held.items == _bought(saga)


@_invariant
def _stock_adds_up(books: Books) -> Iterable[str]:
    """Sold, available and reserved are together what was given."""
    sold = sum((_bought(saga) for saga in books.orders.sagas.values()), Counter())
    for sku, given in books.given.items():
        if books.catalog.available[sku] + sold[sku] != given:
            yield f"Of {given} {sku}, {books.catalog.available[sku]} are available and {sold[sku]} are sold."


@_invariant
def _nothing_was_oversold(books: Books) -> Iterable[str]:
    """Stock is never negative, at no moment."""
    return [f"It was for order {order_id}." for order_id in books.catalog.oversold]


@_invariant
def _each_effect_is_one(books: Books) -> Iterable[str]:
    """Every message has one effect at each of its consumers."""
    return [f"{place} had {books.bus.effects[place]}." for place in books.bus.sent if books.bus.effects[place] != 1]


@_invariant
def _order_is_kept(books: Books) -> Iterable[str]:
    """The events of an aggregate have their effects in their order."""
    for place, sequences in books.bus.applied.items():
        if sequences != sorted(sequences):
            yield f"{place}: {sequences}."


@_invariant
def _nothing_is_left_over(books: Books) -> Iterable[str]:
    """Nothing was given up on, and nothing waits."""
    yield from (f"Given up on: {letter.said!r}." for letter in books.bus.dead_letters)
    yield from (f"{name} has parked something." for name, inbox in books.bus.inboxes.items() if inbox.parked)


def _entries(books: Books, kind: str, order_id: UUID) -> list[int]:
    return [amount for was, reference, amount in books.gateway.ledger if (was, reference) == (kind, str(order_id))]


def _bought(saga: Saga) -> Counter[str]:
    """What of the stock belongs to the customer."""
    bought: Counter[str] = Counter()
    if saga.status in PAID:
        for line in saga.bought:
            bought[line.sku] += line.quantity
        bought -= counted(
            item for refund in saga.refunds if refund.restock and refund.status == "refunded" for item in refund.lines
        )
    return bought
