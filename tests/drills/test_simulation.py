"""Eight hundred histories of simulated shops, each with its books in order at the end.

`python -m tests.drills.simulation` lives through ten thousand.
"""

from collections import Counter

import pytest

from tests.drills.simulation.world import live, world_of

HISTORIES, AT_ONCE = 800, 200
WAYS = {
    *("awaiting-customer", "confirmed", "shipped", "delivered", "rejected", "cancelled", "refunded"),
    *("out-of-stock", "payment-declined", "payment-timeout", "capture-failed"),
    *("partially-refunded", "a refund failed", "a reservation expired"),
}


@pytest.mark.parametrize("first", range(1, HISTORIES, AT_ONCE))
def test_every_history_ends_with_its_books_in_order(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        live(seed)


def test_histories_go_every_way_that_there_is() -> None:
    """Otherwise a way that is never gone would count as one that is right."""
    gone: Counter[object] = Counter()
    for seed in range(1, 301):
        world = live(seed)
        for saga in world.orders.sagas.values():
            gone.update([*world.orders.statuses[saga.order_id], saga.reason, saga.payment])
            gone["a refund failed"] += sum(refund.status == "failed" for refund in saga.refunds)
        gone["a reservation expired"] += world.catalog.expired
    assert {way for way in WAYS if gone[way] < 5} == set()


def test_a_seed_is_a_history() -> None:
    assert story(7) == story(7) != story(8)


def story(seed: int) -> list[str]:
    """Everything that happens in a history."""
    lines: list[str] = []
    world = world_of(seed)
    world.tell(lines.append)
    world.agenda.run()
    return lines
