"""The invariants: what must be true of a platform that has come to rest, whatever was done to it.

Each looks at the evidence alone, and yields a line about whatever contradicts it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.drills.evidence import Event, Evidence
from tests.drills.people import ASKS

Check = Callable[[Evidence], Iterable[str]]
INVARIANTS: list[Check] = []
DEADLINE = 10.0
"""How long an answer may take, in seconds."""
PAID = ("confirmed", "shipped", "delivered", "refunded")
OVER = ("rejected", "cancelled")
ONCE = {
    *("orders.order-placed.v1", "orders.order-confirmed.v1", "orders.order-rejected.v1", "orders.order-cancelled.v1"),
    *("orders.order-delivered.v1", "catalog.stock-reserved.v1", "catalog.stock-refused.v1"),
    *("payments.payment-authorised.v1", "payments.payment-captured.v1", "payments.payment-declined.v1"),
    "payments.payment-voided.v1",
}
"""Facts that an order has once: a message with two effects would say them twice."""
ALWAYS: set[str | None] = {None, "out-of-stock", "payment-timeout"}
"""Reasons that an order may have with any card, and none."""
REASONS: Mapping[str, set[str | None]] = {
    "pm_card_visa_chargeDeclined": {"payment-declined"},
    "pm_sandbox_capture_fails": {"capture-failed"},
    ASKS: {"payment-declined"},
}
Order = Mapping[str, Any]


def _invariant(check: Check) -> Check:
    INVARIANTS.append(check)
    return check


# --- orders -----------------------------------------------------------------------------------------------------------


@_invariant
def _no_accepted_order_is_lost(found: Evidence) -> Iterable[str]:
    """Every order that was accepted is there, and each was placed once."""
    for wish in found.wishes:
        ids = {answer["id"] for answer in wish.accepted}
        if len(ids) != 1 or not ids <= set(found.orders):
            yield f"key {wish.key} was answered with {sorted(ids)}"
    asked_for = {wish.order.get("id") for wish in found.wishes}
    yield from (f"nobody asked for {order_id}" for order_id in set(found.orders) - asked_for)


@_invariant
def _every_order_ends(found: Evidence) -> Iterable[str]:
    """Every order has ended, and has gone the way that its customer was told."""
    for wish, order in _told(found):
        way, told = _way(order), _way(wish.order)
        if order["status"] not in (*PAID, *OVER) or way[: len(told)] != told:
            yield f"order {wish.order['number']} is {order['status']} after {way}, its customer was told {told}"


@_invariant
def _a_reason_is_true(found: Evidence) -> Iterable[str]:
    """An order came to nothing only for a reason that there was."""
    for wish, order in _told(found):
        if order["reason"] not in ALWAYS | REASONS.get(wish.card, set()):
            yield f"order {wish.order['number']} was paid with {wish.card}: {order['reason']}"


@_invariant
def _what_was_accepted_is_done(found: Evidence) -> Iterable[str]:
    """What was accepted of people is done, once: orders are called off, parcels left, money went back."""
    for wish, order in _told(found):
        shipped, given_back = [one["id"] for one in order["shipments"]], [one["id"] for one in order["refunds"]]
        if wish.called_off != (order["status"] == "cancelled"):
            yield f"order {wish.order['number']} is {order['status']}, called off: {wish.called_off}"
        if (shipped, given_back) != (wish.shipments, wish.refunds):
            yield f"of order {wish.order['number']} left {shipped}, not {wish.shipments}; {given_back}, {wish.refunds}"
        if any(refund["status"] == "pending" for refund in order["refunds"]):
            yield f"order {wish.order['number']} still waits for a refund"


@_invariant
def _what_is_wanted_is_sold(found: Evidence) -> Iterable[str]:
    """Of what many want one each of, all is sold that payments did not fail for."""
    for sku, given in found.watch.given.items():
        wanting = [wish for wish in found.wishes if wish.sku == sku]
        ends = Counter(wish.order["reason"] or wish.order["status"] for wish in wanting)
        unpaid = ends.total() - ends["confirmed"] - ends["out-of-stock"]
        if {wish.quantity for wish in wanting} == {1} and ends["confirmed"] < min(given, len(wanting)) - unpaid:
            yield f"{ends['confirmed']} of {given} {sku} are sold to {len(wanting)} who want one: {dict(ends)}"


# --- stock ------------------------------------------------------------------------------------------------------------


@_invariant
def _stock_adds_up(found: Evidence) -> Iterable[str]:
    """Sold, available and reserved are together what was given, and nothing is reserved any more."""
    sold = sum((_sold(order) for order in found.orders.values()), Counter[str]())
    for sku, given in found.watch.given.items():
        if found.stock[sku] != (given - sold[sku], 0):
            yield f"of {given} {sku}, {sold[sku]} are sold; on hand and reserved are {found.stock[sku]}"


@_invariant
def _stock_always_added_up(found: Evidence) -> Iterable[str]:
    """So they were at every moment that somebody looked."""
    if not found.watch.looks:
        yield "nobody looked"
    yield from found.watch.drifts


@_invariant
def _stock_was_never_negative(found: Evidence) -> Iterable[str]:
    """Nothing was oversold, at no moment."""
    return [f"{sku} was at {lowest}" for sku, lowest in found.watch.lowest.items() if lowest < 0]


@_invariant
def _nothing_leaves_that_was_not_bought(found: Evidence) -> Iterable[str]:
    """No more was shipped of an order than was bought and had not been given back before."""
    for order_id, order in found.orders.items():
        gone = _counted(line for parcel in order["shipments"] for line in parcel["lines"])
        kept = _counted(line for refund in _made(order) for line in refund["never_shipped"])
        if (gone + kept) - _counted(order["lines"]):
            yield f"of {order_id} {dict(gone)} left and {dict(kept)} was to stay"


# --- money ------------------------------------------------------------------------------------------------------------


@_invariant
def _captured_once_or_never(found: Evidence) -> Iterable[str]:
    """An order is captured in total and once if it is paid, and keeps what was not refunded; else nothing is kept."""
    for order_id, order in found.orders.items():
        captured, back = _amounts(found, order_id, "captured"), _amounts(found, order_id, "refunded")
        given_back = sum(refund["amount"]["amount"] for refund in _made(order))
        if order["status"] in PAID and (captured != [order["total"]] or sum(back) != given_back):
            yield f"{order_id} is {order['status']} over {order['total']}: captured {captured}, given back {back}"
        if order["status"] not in PAID and (len(captured) > 1 or sum(captured) != sum(back)):
            yield f"{order_id} is {order['status']}: captured {captured}, given back {back}"


@_invariant
def _held_once_at_most(found: Evidence) -> Iterable[str]:
    """The money of an order is held once, or never."""
    for order_id in found.orders:
        if len(held := _amounts(found, order_id, "authorised")) > 1:
            yield f"for {order_id} {held} were held"


@_invariant
def _no_hold_is_open(found: Evidence) -> Iterable[str]:
    """No money is held any more."""
    for order_id in found.orders:
        held = sum(_amounts(found, order_id, "authorised"))
        let_go = sum(_amounts(found, order_id, "voided")) + sum(_amounts(found, order_id, "captured"))
        if held != let_go:
            yield f"for {order_id} {held} was held, and {let_go} was captured or let go"


@_invariant
def _our_ledger_is_the_gateways(found: Evidence) -> Iterable[str]:
    """Orders and our ledger say where the money is as the gateway's does, and the gateway knows no other orders."""
    for order_id, order in found.orders.items():
        captured, back = (sum(_amounts(found, order_id, kind)) for kind in ("captured", "refunded"))
        if found.accounts.get(order_id, (0, 0)) != (captured, back):
            yield f"our ledger has {found.accounts.get(order_id)} for {order_id}, and the gateway's {captured, back}"
        word = "captured" if not back else "refunded" if back == captured else "partially-refunded"
        if order["payment"] not in ({word} if captured else {"voided", "declined"}):
            yield f"{order_id} says {order['payment']}, and at the gateway are {captured} captured, {back} given back"
    yield from {f"there is no order {one['reference']}" for one in found.ledger if one["reference"] not in found.orders}


# --- messages ---------------------------------------------------------------------------------------------------------


@_invariant
def _each_effect_is_one(found: Evidence) -> Iterable[str]:
    """Every message had one effect: a witness saw it once, and no fact was told twice."""
    seen = Counter(found.witnessed)
    told = Counter((event.topic, event.aggregate) for event in _distinct(found.events) if event.topic in ONCE)
    yield from (
        f"{topic} had {times} effects of {aggregate}" for (topic, aggregate), times in seen.items() if times > 1
    )
    yield from (f"{topic} was told {times} times of {one}" for (topic, one), times in told.items() if times > 1)


@_invariant
def _the_witness_saw_all_in_order(found: Evidence) -> Iterable[str]:
    """A service that hears the events of an aggregate has seen all of them, in their order."""
    said: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    seen: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for event in sorted(_distinct(found.events), key=lambda event: event.sequence):
        if event.topic in found.heard["witness"] and event.aggregate in found.orders:
            said[event.source, event.aggregate].append(event.topic)
    for topic, aggregate in dict.fromkeys(found.witnessed):
        if aggregate in found.orders:
            seen[f"/{topic.split('.')[0]}", aggregate].append(topic)
    for place in {*said, *seen}:
        if said[place] != seen[place]:
            yield f"{place} said {said[place]}, and a witness saw {seen[place]}"


@_invariant
def _no_event_is_missed(found: Evidence) -> Iterable[str]:
    """Every service has applied the last event that it hears of each aggregate."""
    last: dict[tuple[str, str, str], int] = {}
    for event in found.events:
        for service in (service for service, topics in found.heard.items() if event.topic in topics):
            place = (service, event.source, event.aggregate)
            last[place] = max(last.get(place, 0), event.sequence)
    for place, sequence in last.items():
        if found.applied.get(place, 0) < sequence:
            yield f"{place} is at {found.applied.get(place)}, and {sequence} was said"


@_invariant
def _order_is_kept(found: Evidence) -> Iterable[str]:
    """The events of an aggregate left in their order, without a gap."""
    sequences: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for event in _distinct(found.events):
        sequences[event.source, event.aggregate].append(event.sequence)
    for place, numbers in sequences.items():
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{place}: {numbers}"


@_invariant
def _dead_letters_are_the_poison(found: Evidence) -> Iterable[str]:
    """Given up on is what was poison, all of it, and nothing else."""
    yield from sorted(set(found.dead) - found.poison)
    yield from (f"poison {name} is nowhere" for name in found.poison - set(found.dead))


@_invariant
def _nothing_is_left_to_do(found: Evidence) -> Iterable[str]:
    """Outboxes, parking places and queues are empty, and nothing waits."""
    return [f"{name}: {count}" for name, count in found.left.items()]


@_invariant
def _everybody_is_back(found: Evidence) -> Iterable[str]:
    """Every service is there again."""
    return [f"{name} is not" for name in found.away]


@_invariant
def _requests_are_answered_in_time(found: Evidence) -> Iterable[str]:
    """Every request is answered by its deadline."""
    if found.asking.unanswered:
        yield f"{found.asking.unanswered} were never answered"
    if found.asking.slowest > DEADLINE:
        yield f"one took {found.asking.slowest:.1f} s"


def _told(found: Evidence) -> Iterable[tuple[Any, Order]]:
    """Each wish whose order is there, with the order."""
    return ((wish, found.orders[wish.order["id"]]) for wish in found.wishes if wish.order.get("id") in found.orders)


def _way(order: Order) -> list[str]:
    return [step["status"] for step in order["history"]]


def _made(order: Order) -> Iterable[Order]:
    return (refund for refund in order["refunds"] if refund["status"] == "refunded")


def _sold(order: Order) -> Counter[str]:
    """What of the stock belongs to the customer."""
    if order["status"] not in PAID:
        return Counter()
    return _counted(order["lines"]) - _counted(
        line for refund in _made(order) if refund["restock"] for line in refund["lines"]
    )


def _counted(lines: Iterable[Order]) -> Counter[str]:
    quantities: Counter[str] = Counter()
    for line in lines:
        quantities[line["sku"]] += line["quantity"]
    return quantities


def _amounts(found: Evidence, order_id: str, kind: str) -> list[int]:
    return found.money[order_id, kind]


def _distinct(events: Iterable[Event]) -> Iterable[Event]:
    """Each event where it came first."""
    seen: set[str] = set()
    for event in events:
        if event.id not in seen:
            seen.add(event.id)
            yield event
