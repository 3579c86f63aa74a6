"""The simulation is tried on broken services: each of them must break the books of some history.

A simulation that passes without a mechanism proves nothing about it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from broker import inbox
from broker.inbox import Claim
from contracts.base import Said
from contracts.catalog import CommitStock, ReleaseStock, Restock
from contracts.orders import Status
from contracts.payments import CapturePayment, PaymentCaptured, PaymentDeclined, PaymentRefunded, VoidPayment
from tests.drills.simulation.bus import Bus, Inbox, Letter
from tests.drills.simulation.catalog import NOTHING, Catalog, Reservation
from tests.drills.simulation.gateway import Gateway
from tests.drills.simulation.payments import Payments
from tests.drills.simulation.world import BrokenError, live
from workers.orders import rules
from workers.orders.rules import Cancelled, Decision, Patience, Saga, TimedOut

ENOUGH_HISTORIES = 1500
Breaking = Callable[[pytest.MonkeyPatch], None]
BREAKINGS: dict[str, tuple[Breaking, str]] = {}


def breaks(what_is_wrong: str) -> Callable[[Breaking], Breaking]:
    """Take down a way to break something, and the words of the invariant that must find it."""

    def take_down(breaking: Breaking) -> Breaking:
        BREAKINGS[breaking.__name__] = breaking, what_is_wrong
        return breaking

    return take_down


@pytest.mark.parametrize("name", BREAKINGS)
def test_what_is_broken_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking, what_is_wrong = BREAKINGS[name]
    breaking(monkeypatch)
    assert any(what_is_wrong in found for found in findings())


def findings() -> Iterator[str]:
    """What goes wrong in many histories, one after the other."""
    for seed in range(1, ENOUGH_HISTORIES):
        try:
            live(seed)
        except BrokenError as broken:
            yield str(broken)


def forget(patch: pytest.MonkeyPatch, command: type[Said], message: type[Any], *statuses: Status) -> None:
    """The saga does not say this where it should."""
    for status in statuses:
        transition = rules._TRANSITIONS[status, message]

        def decide(saga: Saga, said: Any, transition: Callable[[Saga, Any], Decision] = transition) -> Decision:
            after, commands = transition(saga, said)
            return after, tuple(one for one in commands if not isinstance(one, command))

        patch.setitem(rules._TRANSITIONS, (status, message), decide)


# --- the saga ---------------------------------------------------------------------------------------------------------


@breaks("No hold stays open")
def a_time_out_does_not_void(patch: pytest.MonkeyPatch) -> None:
    forget(patch, VoidPayment, TimedOut, "reserved", "awaiting-customer", "authorised")


@breaks("The catalogue has sold to an order")
def a_declined_order_keeps_its_goods(patch: pytest.MonkeyPatch) -> None:
    forget(patch, ReleaseStock, PaymentDeclined, "reserved", "awaiting-customer")


@breaks("The catalogue has sold to an order")
def what_is_paid_is_not_sold(patch: pytest.MonkeyPatch) -> None:
    forget(patch, CommitStock, PaymentCaptured, "authorised")


@breaks("together what was given")
def what_came_back_is_not_restocked(patch: pytest.MonkeyPatch) -> None:
    forget(patch, Restock, PaymentRefunded, "confirmed", "shipped", "delivered")


@breaks("What was captured and not given back")
def a_cancelled_order_keeps_the_money(patch: pytest.MonkeyPatch) -> None:
    forget(patch, VoidPayment, Cancelled, "confirmed")


@breaks("Every order ends")
def nobody_stops_waiting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Patience, "within", lambda self, status: None)


@breaks("Every refund ends")
def refunds_under_way_do_not_count(patch: pytest.MonkeyPatch) -> None:
    def standing(saga: Saga) -> list[Any]:
        return [refund for refund in saga.refunds if refund.status == "refunded"]

    patch.setattr(rules, "_standing", standing)


@breaks("an order is shipped when nothing is left to ship")
def goods_are_gone_before_their_refund_is(patch: pytest.MonkeyPatch) -> None:
    def at_once(saga: Saga) -> Saga:
        gone = saga.status == "confirmed" and saga.shipments and not rules.left_to_ship(saga)
        return replace(saga, status="shipped") if gone else saga

    patch.setattr(rules, "_shipped_if_all_is_gone", at_once)


# --- the services that it commands ------------------------------------------------------------------------------------


@breaks("Stock is never negative")
def more_is_reserved_than_there_is(patch: pytest.MonkeyPatch) -> None:
    reserve = Catalog.reserve

    def blindly(self: Catalog, command: Any) -> tuple[Said, ...]:
        available, self.available = self.available, Counter(dict.fromkeys(self.available, 10**6))
        said = reserve(self, command)
        taken = Counter(dict.fromkeys(self.available, 10**6))
        taken.subtract(self.available)
        self.available = available
        self._take(command.order_id, taken)
        return said

    patch.setattr(Catalog, "reserve", blindly)


@breaks("together what was given")
def goods_are_released_twice(patch: pytest.MonkeyPatch) -> None:
    def release(self: Catalog, command: ReleaseStock) -> tuple[Said, ...]:
        held = self.reservations.setdefault(command.order_id, Reservation("released", NOTHING))
        self._give(held.items)
        self._give(held.items)
        held.state, held.items = "released", NOTHING
        return ()

    patch.setattr(Catalog, "release", release)


@breaks("The catalogue has sold to an order")
def a_release_that_came_first_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    release = Catalog.release

    def forgetting(self: Catalog, command: ReleaseStock) -> tuple[Said, ...]:
        return release(self, command) if command.order_id in self.reservations else ()

    patch.setattr(Catalog, "release", forgetting)


@breaks("No hold stays open")
def each_attempt_has_a_key_of_its_own(patch: pytest.MonkeyPatch) -> None:
    authorise, numbers = Gateway.authorise, count()

    def keyless(self: Gateway, reference: str, amount: int, method: str, key: str, done: Any) -> None:
        authorise(self, reference, amount, method, f"{key}:{next(numbers)}", done)

    patch.setattr(Gateway, "authorise", keyless)


@breaks("No hold stays open")
def webhooks_are_not_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Payments, "_told", lambda self, reference: None)


@breaks("An order is captured once")
def a_capture_is_told_before_it_is_known(patch: pytest.MonkeyPatch) -> None:
    capture = Payments.capture

    def guessing(self: Payments, command: CapturePayment) -> tuple[Said, ...]:
        account = self.accounts[command.order_id]
        assert account.asked is not None
        account.said.add("captured")
        return (*capture(self, command), PaymentCaptured(order_id=account.order_id, amount=account.asked.amount))

    patch.setattr(Payments, "capture", guessing)


# --- the bus ----------------------------------------------------------------------------------------------------------


@breaks("Every message has one effect")
def there_is_no_inbox(patch: pytest.MonkeyPatch) -> None:
    claim = Inbox.claim

    def always(self: Inbox, letter: Letter) -> Claim:
        claimed = claim(self, letter)
        return Claim.OURS if claimed is Claim.DUPLICATE else claimed

    patch.setattr(Inbox, "claim", always)


@breaks("Every message has one effect")
def order_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inbox, "predecessor", lambda message, joined: 0)


@breaks("Every message has one effect")
def what_failed_is_acknowledged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Bus, "_try_again", lambda self, letter: None)
