"""Each invariant, contradicted: books that are never wrong would prove nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.drills.books import INVARIANTS
from tests.drills.books.platform import DEADLINE
from tests.drills.evidence import Event, Evidence
from tests.drills.people import Wish
from tests.drills.watching import Watch
from tests.drills.weakened import MECHANISMS, PROTECTS
from tests.support.load import Asking

PLACED, CONFIRMED = "orders.order-placed.v1", "orders.order-confirmed.v1"


def event(number: int, topic: str, *, name: str = "") -> Event:
    return Event(name or f"e{number}", topic, "/orders", "one", number)


def money(kind: str, amount: int = 500, reference: str = "one") -> dict[str, Any]:
    return {"reference": reference, "kind": kind, "amount": amount}


def way(*statuses: str) -> list[dict[str, str]]:
    return [{"status": status} for status in statuses]


def spades(quantity: int) -> list[dict[str, Any]]:
    return [{"sku": "spade", "quantity": quantity}]


def refund(amount: int = 100, **changes: Any) -> dict[str, Any]:
    usual = {"id": "r", "amount": {"amount": amount}, "status": "refunded", "restock": False}
    return {**usual, "lines": [], "never_shipped": [], **changes}


def right() -> Evidence:
    """One order of one spade, and all is well."""
    order: dict[str, Any] = {"status": "confirmed", "reason": None, "payment": "captured", "total": 500}
    order["history"] = way("placed", "confirmed")
    accepted: list[dict[str, Any]] = [{"id": "one"}]
    return Evidence(
        wishes=[Wish("spade", 1, "pm", key="key", accepted=accepted, order={"id": "one", "number": "1", **order})],
        orders={"one": {**order, "lines": spades(1), "shipments": [], "refunds": []}},
        accounts={"one": (500, 0)},
        stock={"spade": (2, 0)},
        watch=Watch({"spade": 3}, {"spade": 2}, looks=1),
        ledger=[money("authorised"), money("captured")],
        events=[event(1, PLACED), event(2, CONFIRMED)],
        heard={"catalog": {PLACED}, "witness": {PLACED, CONFIRMED}},
        applied={("catalog", "/orders", "one"): 1, ("witness", "/orders", "one"): 2},
        witnessed=[(PLACED, "one"), (CONFIRMED, "one")],
        left={},
        dead=[],
        poison=set(),
        away=[],
        asking=Asking(asked=3, slowest=0.1),
    )


def as_order(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda found: replace(found, orders={"one": {**found.orders["one"], **changes}})


def with_more(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda found: replace(found, **changes)


def as_told(**changes: Any) -> Callable[[Evidence], Evidence]:
    def tell(found: Evidence) -> Evidence:
        found.wishes[0].order |= changes
        return found

    return tell


def as_asked(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda found: replace(found, wishes=[replace(found.wishes[0], **changes)])


CONTRADICTIONS: list[tuple[str, Callable[[Evidence], Evidence]]] = [
    ("Every order that was accepted", with_more(orders={})),
    (
        "Every order that was accepted",
        lambda found: replace(found, orders={**found.orders, "two": found.orders["one"]}),
    ),
    ("Every order has ended", as_order(status="authorised")),
    ("Every order has ended", as_told(history=way("placed", "rejected"))),
    ("An order came to nothing only", as_order(status="rejected", reason="capture-failed")),
    ("What was accepted of people", as_asked(called_off=True)),
    ("What was accepted of people", as_order(status="cancelled")),
    ("What was accepted of people", as_asked(shipments=["s"])),
    ("What was accepted of people", as_asked(refunds=["r"])),
    ("What was accepted of people", as_order(shipments=[{"id": "s", "lines": []}])),
    ("What was accepted of people", as_order(refunds=[refund(status="pending")])),
    ("Sold, available and reserved", with_more(stock={"spade": (3, 0)})),
    ("Sold, available and reserved", with_more(stock={"spade": (2, 1)})),
    ("Sold, available and reserved", as_order(refunds=[refund(restock=True, lines=spades(1))])),
    ("So they were at every moment", with_more(watch=Watch({"spade": 3}, drifts=["1 was missing"], looks=1))),
    ("So they were at every moment", with_more(watch=Watch({"spade": 3}))),
    ("Nothing was oversold", with_more(watch=Watch({"spade": 3}, {"spade": -1}, looks=1))),
    ("No more was shipped", as_order(shipments=[{"id": "s", "lines": spades(2)}])),
    (
        "No more was shipped",
        as_order(shipments=[{"id": "s", "lines": spades(1)}], refunds=[refund(never_shipped=spades(1))]),
    ),
    ("Of what many want", as_told(status="rejected", reason="out-of-stock")),
    ("An order is captured", with_more(ledger=[])),
    ("An order is captured", with_more(ledger=[money("captured"), money("captured")])),
    ("An order is captured", with_more(ledger=[money("captured"), money("refunded", 100)])),
    ("An order is captured", as_order(status="rejected")),
    ("An order is captured", as_order(refunds=[refund()])),
    ("The money of an order is held", with_more(ledger=[money("authorised"), money("authorised"), money("voided")])),
    ("No money is held", with_more(ledger=[money("authorised"), money("captured"), money("authorised")])),
    ("Orders and our ledger", as_order(payment="unknown")),
    ("Orders and our ledger", with_more(accounts={"one": (500, 100)})),
    ("Orders and our ledger", with_more(ledger=[money("captured", reference="nobody's")])),
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
    ("Every service is there", with_more(away=["catalog"])),
    ("Every request is answered", with_more(asking=Asking(unanswered=1))),
    ("Every request is answered", with_more(asking=Asking(slowest=DEADLINE + 1))),
]


def test_books_that_are_right_are_found_right() -> None:
    assert wrong(right()) == []


def test_an_order_of_which_a_piece_came_back_is_found_right() -> None:
    order = {**right().orders["one"], "total": 1000, "lines": spades(2), "payment": "partially-refunded"}
    order["shipments"] = [{"id": "s", "lines": spades(1)}]
    order["refunds"] = [refund(500, restock=True, lines=spades(1), never_shipped=spades(1))]
    found = as_asked(quantity=2, shipments=["s"], refunds=["r"])(right())
    ledger = [money("authorised", 1000), money("captured", 1000), money("refunded", 500)]
    assert wrong(replace(found, orders={"one": order}, accounts={"one": (1000, 500)}, ledger=ledger)) == []


def test_an_event_that_was_published_twice_is_one_event() -> None:
    twice = [event(1, PLACED), event(1, PLACED), event(2, CONFIRMED), event(1, PLACED)]
    assert wrong(replace(right(), events=twice)) == []


def test_stock_that_does_not_add_up_at_some_moment_is_noted() -> None:
    watch = Watch({"spade": 3})
    watch.see("spade", 2, 1, 1, 1)
    assert (watch.lowest, watch.drifts) == ({"spade": 1}, [])
    watch.see("spade", 2, 1, 0, 1)
    watch.see("spade", 2, 0, 0, 0)
    assert len(watch.drifts) == 2


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
