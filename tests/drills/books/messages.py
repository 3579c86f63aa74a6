"""Messages: each has its effect once, in its order, and what is given up on was poison."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from tests.drills.evidence import Event, Evidence

ONCE = {
    *("orders.order-placed.v1", "orders.order-confirmed.v1", "orders.order-rejected.v1", "orders.order-cancelled.v1"),
    *("orders.order-delivered.v1", "catalog.stock-reserved.v1", "catalog.stock-refused.v1"),
    *("payments.payment-authorised.v1", "payments.payment-captured.v1", "payments.payment-declined.v1"),
    "payments.payment-voided.v1",
}
"""Facts that an order has once: a message with two effects would say them twice."""


def _each_effect_is_one(found: Evidence) -> Iterable[str]:
    """Every message had one effect: a witness saw it once, and no fact was told twice."""
    seen = Counter(found.witnessed)
    told = Counter((event.topic, event.aggregate) for event in _distinct(found.events) if event.topic in ONCE)
    yield from (
        f"{topic} had {times} effects of {aggregate}" for (topic, aggregate), times in seen.items() if times > 1
    )
    yield from (f"{topic} was told {times} times of {one}" for (topic, one), times in told.items() if times > 1)


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


def _order_is_kept(found: Evidence) -> Iterable[str]:
    """The events of an aggregate left in their order, without a gap."""
    sequences: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for event in _distinct(found.events):
        sequences[event.source, event.aggregate].append(event.sequence)
    for place, numbers in sequences.items():
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{place}: {numbers}"


def _dead_letters_are_the_poison(found: Evidence) -> Iterable[str]:
    """Given up on is what was poison, all of it, and nothing else."""
    yield from sorted(set(found.dead) - found.poison)
    yield from (f"poison {name} is nowhere" for name in found.poison - set(found.dead))


def _distinct(events: Iterable[Event]) -> Iterable[Event]:
    """Each event where it came first."""
    seen: set[str] = set()
    for event in events:
        if event.id not in seen:
            seen.add(event.id)
            yield event


CHECKS = (
    _each_effect_is_one,
    _the_witness_saw_all_in_order,
    _no_event_is_missed,
    _order_is_kept,
    _dead_letters_are_the_poison,
)
