"""Each invariant, contradicted: books that are never wrong would prove nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.drills.books import DEADLINE, INVARIANTS
from tests.drills.evidence import Event, Evidence
from tests.drills.weakened import MECHANISMS, PROTECTS
from tests.support.load import Asking, Wish

PLACED, CONFIRMED = "orders.order-placed.v1", "orders.order-confirmed.v1"


def event(number: int, topic: str, *, name: str = "") -> Event:
    return Event(name or f"e{number}", topic, "/orders", "one", number)


def money(kind: str, amount: int = 500, reference: str = "one") -> dict[str, Any]:
    return {"reference": reference, "kind": kind, "amount": amount}


def right() -> Evidence:
    """One order of one spade, and all is well."""
    order = {"status": "confirmed", "reason": None, "payment": "captured", "total": 500}
    return Evidence(
        wishes=[Wish("spade", 1, "pm", "key", accepted=[{"id": "one"}], order={"id": "one", "number": "1", **order})],
        orders={"one": {**order, "lines": [{"sku": "spade", "quantity": 1}]}},
        given={"spade": 3},
        stock={"spade": (2, 0)},
        lowest={"spade": 2},
        ledger=[money("authorised"), money("captured")],
        events=[event(1, PLACED), event(2, CONFIRMED)],
        heard={"catalog": {PLACED}, "witness": {PLACED, CONFIRMED}},
        applied={("catalog", "/orders", "one"): 1, ("witness", "/orders", "one"): 2},
        witnessed=[(PLACED, "one"), (CONFIRMED, "one")],
        left={},
        dead=[],
        poison=set(),
        asking=Asking(asked=3, slowest=0.1),
    )


def as_order(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda found: replace(found, orders={"one": {**found.orders["one"], **changes}})


def with_more(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda found: replace(found, **changes)


def told(reason: str) -> Callable[[Evidence], Evidence]:
    def tell(found: Evidence) -> Evidence:
        found.wishes[0].order |= {"status": "rejected", "reason": reason}
        return found

    return tell


CONTRADICTIONS: list[tuple[str, Callable[[Evidence], Evidence]]] = [
    ("Every order that was accepted", with_more(orders={})),
    (
        "Every order that was accepted",
        lambda found: replace(found, orders={**found.orders, "two": found.orders["one"]}),
    ),
    ("Every order has ended", as_order(status="authorised")),
    ("Sold, available and reserved", with_more(stock={"spade": (3, 0)})),
    ("Sold, available and reserved", with_more(stock={"spade": (2, 1)})),
    ("Nothing was oversold", with_more(lowest={"spade": -1})),
    ("Of what many want", told("out-of-stock")),
    ("An order is captured", with_more(ledger=[])),
    ("An order is captured", with_more(ledger=[money("captured"), money("captured")])),
    ("An order is captured", as_order(status="rejected")),
    ("No money is held", with_more(ledger=[money("authorised"), money("captured"), money("authorised")])),
    ("Orders say where", as_order(payment="unknown")),
    ("Orders say where", with_more(ledger=[money("captured", reference="nobody's")])),
    ("Every message had one effect", with_more(events=[event(1, PLACED), event(2, CONFIRMED), event(3, CONFIRMED)])),
    ("Every message had one effect", with_more(witnessed=[(PLACED, "one"), (CONFIRMED, "one"), (PLACED, "one")])),
    ("A service that hears", with_more(witnessed=[(CONFIRMED, "one"), (PLACED, "one")])),
    ("A service that hears", with_more(witnessed=[(CONFIRMED, "one")])),
    ("Every service has applied", with_more(applied={})),
    ("The events of an aggregate", with_more(events=[event(2, CONFIRMED), event(1, PLACED)])),
    ("The events of an aggregate", with_more(events=[event(2, CONFIRMED)])),
    ("Given up on is", with_more(dead=["orders.x: why"])),
    ("Given up on is", with_more(poison={"p"})),
    ("Outboxes, parking places", with_more(left={"orders.outbox": 1})),
    ("Every request is answered", with_more(asking=Asking(unanswered=1))),
    ("Every request is answered", with_more(asking=Asking(slowest=DEADLINE + 1))),
]


def test_books_that_are_right_are_found_right() -> None:
    assert wrong(right()) == []


def test_an_event_that_was_published_twice_is_one_event() -> None:
    twice = [event(1, PLACED), event(1, PLACED), event(2, CONFIRMED), event(1, PLACED)]
    assert wrong(replace(right(), events=twice)) == []


@pytest.mark.parametrize(("invariant", "contradict"), CONTRADICTIONS)
def test_a_contradiction_is_found(invariant: str, contradict: Callable[[Evidence], Evidence]) -> None:
    assert any(found.startswith(invariant) for found in wrong(contradict(right())))


def test_every_invariant_can_be_contradicted() -> None:
    contradicted = {invariant for invariant, _ in CONTRADICTIONS}
    said = [check.__doc__ or "" for check in INVARIANTS]
    assert [invariant for invariant in said if not invariant.startswith(tuple(contradicted))] == []


def test_every_mechanism_protects_an_invariant() -> None:
    said = [check.__doc__ or "" for check in INVARIANTS]
    assert set(PROTECTS) == set(MECHANISMS)
    assert [words for words in PROTECTS.values() if not any(invariant.startswith(words) for invariant in said)] == []


def wrong(found: Evidence) -> list[str]:
    """Which invariants do not hold."""
    return [check.__doc__ or "" for check in INVARIANTS if list(check(found))]
