"""Stock: it adds up, at every moment, and nothing leaves twice."""

from collections import Counter
from collections.abc import Iterable

from tests.drills.books.readings import PAID, Order, counted, made
from tests.drills.evidence import Evidence


def _stock_adds_up(found: Evidence) -> Iterable[str]:
    """Sold, available and reserved are together what was given, and nothing is reserved any more."""
    sold = sum((_sold(order) for order in found.orders.values()), Counter[str]())
    for sku, given in found.watch.given.items():
        if found.stock[sku] != (given - sold[sku], 0):
            yield f"of {given} {sku}, {sold[sku]} are sold; on hand and reserved are {found.stock[sku]}"


def _stock_always_added_up(found: Evidence) -> Iterable[str]:
    """So they were at every moment that somebody looked."""
    if not found.watch.looks:
        yield "nobody looked"
    yield from found.watch.drifts


def _stock_was_never_negative(found: Evidence) -> Iterable[str]:
    """Nothing was oversold, at no moment."""
    return [f"{sku} was at {lowest}" for sku, lowest in found.watch.lowest.items() if lowest < 0]


def _nothing_leaves_that_was_not_bought(found: Evidence) -> Iterable[str]:
    """No more was shipped of an order than was bought and had not been given back before."""
    for order_id, order in found.orders.items():
        gone = counted(line for parcel in order["shipments"] for line in parcel["lines"])
        kept = counted(line for refund in made(order) for line in refund["never_shipped"])
        if (gone + kept) - counted(order["lines"]):
            yield f"of {order_id} {dict(gone)} left and {dict(kept)} was to stay"


def _sold(order: Order) -> Counter[str]:
    """What of the stock belongs to the customer."""
    if order["status"] not in PAID:
        return Counter()
    return counted(order["lines"]) - counted(
        line for refund in made(order) if refund["restock"] for line in refund["lines"]
    )


CHECKS = (
    _stock_adds_up,
    _stock_always_added_up,
    _stock_was_never_negative,
    _nothing_leaves_that_was_not_bought,
)
