"""Orders: none is lost, each ends as was told, and everything that was accepted of people is done."""

from collections import Counter
from collections.abc import Iterable, Mapping

from tests.drills.books.readings import OVER, PAID, Order, told
from tests.drills.evidence import Evidence
from tests.drills.people import ASKS

ALWAYS: set[str | None] = {None, "out-of-stock", "payment-timeout"}
"""Reasons that an order may have with any card, and none."""
REASONS: Mapping[str, set[str | None]] = {
    "pm_card_visa_chargeDeclined": {"payment-declined"},
    "pm_sandbox_capture_fails": {"capture-failed"},
    ASKS: {"payment-declined"},
}


def _no_accepted_order_is_lost(found: Evidence) -> Iterable[str]:
    """Every order that was accepted is there, and each was placed once."""
    for wish in found.wishes:
        ids = {answer["id"] for answer in wish.accepted}
        if len(ids) != 1 or not ids <= set(found.orders):
            yield f"key {wish.key} was answered with {sorted(ids)}"
    asked_for = {wish.order.get("id") for wish in found.wishes}
    yield from (f"nobody asked for {order_id}" for order_id in set(found.orders) - asked_for)


def _every_order_ends(found: Evidence) -> Iterable[str]:
    """Every order has ended, and has gone the way that its customer was told."""
    for wish, order in told(found):
        gone, said = _way(order), _way(wish.order)
        if order["status"] not in (*PAID, *OVER) or gone[: len(said)] != said:
            yield f"order {wish.order['number']} is {order['status']} after {gone}, its customer was told {said}"


def _a_reason_is_true(found: Evidence) -> Iterable[str]:
    """An order came to nothing only for a reason that there was."""
    for wish, order in told(found):
        if order["reason"] not in ALWAYS | REASONS.get(wish.card, set()):
            yield f"order {wish.order['number']} was paid with {wish.card}: {order['reason']}"


def _what_was_accepted_is_done(found: Evidence) -> Iterable[str]:
    """What was accepted of people is done, once: orders are called off, parcels left, money went back."""
    for wish, order in told(found):
        shipped, given_back = [one["id"] for one in order["shipments"]], [one["id"] for one in order["refunds"]]
        if wish.called_off != (order["status"] == "cancelled"):
            yield f"order {wish.order['number']} is {order['status']}, called off: {wish.called_off}"
        if (shipped, given_back) != (wish.shipments, wish.refunds):
            yield f"of order {wish.order['number']} left {shipped}, not {wish.shipments}; {given_back}, {wish.refunds}"
        if any(refund["status"] == "pending" for refund in order["refunds"]):
            yield f"order {wish.order['number']} still waits for a refund"


def _what_is_wanted_is_sold(found: Evidence) -> Iterable[str]:
    """Of what many want one each of, all is sold that payments did not fail for."""
    for sku, given in found.watch.given.items():
        wanting = [wish for wish in found.wishes if wish.sku == sku]
        ends = Counter(wish.order["reason"] or wish.order["status"] for wish in wanting)
        unpaid = ends.total() - ends["confirmed"] - ends["out-of-stock"]
        if {wish.quantity for wish in wanting} == {1} and ends["confirmed"] < min(given, len(wanting)) - unpaid:
            yield f"{ends['confirmed']} of {given} {sku} are sold to {len(wanting)} who want one: {dict(ends)}"


def _way(order: Order) -> list[str]:
    return [step["status"] for step in order["history"]]


CHECKS = (
    _no_accepted_order_is_lost,
    _every_order_ends,
    _a_reason_is_true,
    _what_was_accepted_is_done,
    _what_is_wanted_is_sold,
)
