"""The invariants: what must be true of a platform that has come to rest, whatever was done to it.

Each looks at the evidence alone, and yields a line about whatever contradicts it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from tests.drills.evidence import Event, Evidence

Check = Callable[[Evidence], Iterable[str]]
INVARIANTS: list[Check] = []
DEADLINE = 10.0
"""How long an answer may take, in seconds."""
ONCE = {
    *("orders.order-placed.v1", "orders.order-confirmed.v1", "orders.order-rejected.v1", "orders.order-cancelled.v1"),
    *("catalog.stock-reserved.v1", "catalog.stock-refused.v1"),
    *("payments.payment-authorised.v1", "payments.payment-captured.v1", "payments.payment-declined.v1"),
}
"""Facts that an order has once: a message with two effects would say them twice."""


def _invariant(check: Check) -> Check:
    INVARIANTS.append(check)
    return check


@_invariant
def _no_accepted_order_is_lost(found: Evidence) -> Iterable[str]:
    """Every order that was accepted is there, and each was placed once."""
    for wish in found.wishes:
        ids = {answer["id"] for answer in wish.accepted}
        if len(ids) != 1 or not ids <= set(found.orders):
            yield f"key {wish.key} was answered with {sorted(ids)}"
    yield from (
        f"nobody asked for {order_id}" for order_id in set(found.orders) - {w.order["id"] for w in found.wishes}
    )


@_invariant
def _every_order_ends(found: Evidence) -> Iterable[str]:
    """Every order has ended, and is what its customer was told."""
    for wish in found.wishes:
        status = found.orders.get(wish.order["id"], {}).get("status")
        if status not in ("confirmed", "rejected") or status != wish.order["status"]:
            yield f"order {wish.order['number']} is {status}, its customer was told {wish.order['status']}"


@_invariant
def _stock_adds_up(found: Evidence) -> Iterable[str]:
    """Sold, available and reserved are together what was given, and nothing is reserved any more."""
    sold: Counter[str] = Counter()
    for order in found.orders.values():
        for line in order["lines"]:
            sold[line["sku"]] += line["quantity"] if order["status"] == "confirmed" else 0
    for sku, given in found.given.items():
        if found.stock[sku] != (given - sold[sku], 0):
            yield f"of {given} {sku}, {sold[sku]} are sold; on hand and reserved are {found.stock[sku]}"


@_invariant
def _stock_was_never_negative(found: Evidence) -> Iterable[str]:
    """Nothing was oversold, at no moment."""
    return [f"{sku} was at {lowest}" for sku, lowest in found.lowest.items() if lowest < 0]


@_invariant
def _what_is_wanted_is_sold(found: Evidence) -> Iterable[str]:
    """Of what many want one each of, all is sold that payments did not fail for."""
    for sku, given in found.given.items():
        wanting = [wish for wish in found.wishes if wish.sku == sku]
        ends = Counter(wish.order["reason"] or wish.order["status"] for wish in wanting)
        unpaid = ends.total() - ends["confirmed"] - ends["out-of-stock"]
        if {wish.quantity for wish in wanting} == {1} and ends["confirmed"] < min(given, len(wanting)) - unpaid:
            yield f"{ends['confirmed']} of {given} {sku} are sold to {len(wanting)} who want one: {dict(ends)}"


@_invariant
def _captured_once_or_never(found: Evidence) -> Iterable[str]:
    """An order is captured in total and once if it is confirmed; else nothing of it is kept."""
    for order_id, order in found.orders.items():
        captured, back = _amounts(found, order_id, "captured"), _amounts(found, order_id, "refunded")
        if order["status"] == "confirmed" and (captured != [order["total"]] or back):
            yield f"{order_id} is confirmed over {order['total']}: captured {captured}, given back {back}"
        if order["status"] != "confirmed" and (len(captured) > 1 or sum(captured) != sum(back)):
            yield f"{order_id} is {order['status']}: captured {captured}, given back {back}"


@_invariant
def _no_hold_is_open(found: Evidence) -> Iterable[str]:
    """No money is held."""
    for order_id in found.orders:
        held = sum(_amounts(found, order_id, "authorised"))
        let_go = sum(_amounts(found, order_id, "voided")) + sum(_amounts(found, order_id, "captured"))
        if held != let_go:
            yield f"for {order_id} {held} was held, and {let_go} was captured or let go"


@_invariant
def _our_ledger_is_the_gateways(found: Evidence) -> Iterable[str]:
    """Orders say where their money is as the gateway's ledger does, and the gateway knows no other orders."""
    for order_id, order in found.orders.items():
        kept = sum(_amounts(found, order_id, "captured")) - sum(_amounts(found, order_id, "refunded"))
        if (order["payment"] == "captured") != (kept > 0) or order["payment"] in ("pending", "authorised", "unknown"):
            yield f"{order_id} says {order['payment']}, and the gateway keeps {kept}"
    yield from {f"there is no order {one['reference']}" for one in found.ledger if one["reference"] not in found.orders}


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
    """Outboxes, parking places and queues are empty."""
    return [f"{name} has {count}" for name, count in found.left.items()]


@_invariant
def _requests_are_answered_in_time(found: Evidence) -> Iterable[str]:
    """Every request is answered by its deadline."""
    if found.asking.unanswered:
        yield f"{found.asking.unanswered} were never answered"
    if found.asking.slowest > DEADLINE:
        yield f"one took {found.asking.slowest:.1f} s"


def _amounts(found: Evidence, order_id: str, kind: str) -> list[int]:
    return found.money[order_id, kind]


def _distinct(events: Iterable[Event]) -> Iterable[Event]:
    """Each event where it came first."""
    seen: set[str] = set()
    for event in events:
        if event.id not in seen:
            seen.add(event.id)
            yield event
