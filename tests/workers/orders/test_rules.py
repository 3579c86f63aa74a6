"""The saga as a pure function."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.base import Money, Said
from contracts.catalog import CommitStock, ReleaseStock, ReservationExpired, ReserveStock, StockRefused, StockReserved
from contracts.orders import OrderAwaitsCustomer, OrderCancelled, OrderConfirmed, OrderRejected, Shipment
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequiresAction,
    PaymentVoided,
    VoidPayment,
)
from infra.launcher.state import REPOSITORY
from workers.catalog.rules import RESERVATION_LIFETIME
from workers.orders.rules import Bought, Cancelled, Input, ParcelLeft, Patience, Saga, TimedOut, begin, decide
from workers.orders.table import page

ID = UUID(int=7)
TOTAL = Money(amount=1999, currency="EUR")
PLACED = Saga(ID, "placed", "pending", None, (Bought("a", 2, 1999),), TOTAL, "pm_card_visa")

RESERVED = StockReserved(order_id=ID)
REFUSED = StockRefused(order_id=ID, skus=("a",))
AUTHORISED = PaymentAuthorised(order_id=ID, amount=TOTAL)
DECLINED = PaymentDeclined(order_id=ID, code="card_declined")
CAPTURED = PaymentCaptured(order_id=ID, amount=TOTAL)
CAPTURE_FAILED = CaptureFailed(order_id=ID, code="expired")
ASKED = PaymentRequiresAction(order_id=ID)
PAID = (RESERVED, AUTHORISED, CAPTURED)
LEFT = ParcelLeft(
    Shipment(id=ID, lines=PLACED.items, carrier="DHL", tracking="1", shipped_at=datetime(2026, 1, 1, tzinfo=UTC))
)
ALL: list[Input] = [RESERVED, REFUSED, ASKED, AUTHORISED, DECLINED, CAPTURED, CAPTURE_FAILED, TimedOut()]


def play(*messages: Input) -> tuple[Saga, list[type[Said]]]:
    saga, said = PLACED, [type(begin(PLACED))]
    for message in messages:
        saga, more = decide(saga, message)
        said += [type(one) for one in more]
    return saga, said


def test_an_order_that_goes_well_is_confirmed() -> None:
    saga, said = play(RESERVED, AUTHORISED, CAPTURED)
    assert (saga.status, saga.payment) == ("confirmed", "captured")
    assert [kind for kind in said if kind.__module__ != "contracts.orders"] == [
        ReserveStock,
        AuthorisePayment,
        CapturePayment,
        CommitStock,
    ]


@pytest.mark.parametrize(
    ("messages", "reason", "undone"),
    [
        ((REFUSED,), "out-of-stock", set()),
        ((RESERVED, DECLINED), "payment-declined", {ReleaseStock}),
        ((RESERVED, AUTHORISED, CAPTURE_FAILED), "capture-failed", {ReleaseStock, VoidPayment}),
    ],
)
def test_an_order_that_fails_is_rejected_and_undone(messages: Any, reason: str, undone: set[type[Said]]) -> None:
    saga, said = play(*messages)
    assert (saga.status, saga.reason) == ("rejected", reason)
    assert set(said) & {ReleaseStock, VoidPayment} == undone
    assert OrderRejected in said


def test_a_customer_who_answers_the_bank_goes_on() -> None:
    saga, said = play(RESERVED, ASKED, AUTHORISED, CAPTURED)
    assert (saga.status, saga.payment) == ("confirmed", "captured")
    assert OrderAwaitsCustomer in said


@pytest.mark.parametrize("before", [(RESERVED,), (RESERVED, ASKED), (RESERVED, AUTHORISED)])
@pytest.mark.parametrize("end", [TimedOut(), ReservationExpired(order_id=ID)])
def test_an_order_that_waited_too_long_is_rejected_and_its_payment_is_unknown(before: Any, end: Input) -> None:
    saga, said = play(*before, end)
    assert (saga.status, saga.reason, saga.payment) == ("rejected", "payment-timeout", "unknown")
    assert {OrderRejected, VoidPayment, ReleaseStock} <= set(said)


@pytest.mark.parametrize("before", [(), (RESERVED,), (RESERVED, ASKED), (RESERVED, AUTHORISED), PAID])
def test_an_order_can_be_cancelled_until_it_ships_and_all_is_undone(before: Any) -> None:
    saga, said = play(*before, Cancelled())
    assert saga.status == "cancelled"
    assert {OrderCancelled, ReleaseStock} <= set(said)
    assert (VoidPayment in said) == bool(before)


@pytest.mark.parametrize("before", [(REFUSED,), (*PAID, LEFT), (Cancelled(),)])
def test_what_is_over_or_on_its_way_can_not_be_cancelled(before: Any) -> None:
    saga, _ = play(*before)
    assert decide(saga, Cancelled()) == (saga, ())


@pytest.mark.parametrize("turns_up", [ASKED, AUTHORISED, CAPTURED])
def test_money_that_turns_up_for_an_order_that_is_over_is_sent_back(turns_up: Said) -> None:
    saga, _ = play(RESERVED, Cancelled())
    assert decide(saga, turns_up) == (saga, (VoidPayment(order_id=ID),))


def test_an_order_that_is_over_says_where_its_money_went() -> None:
    assert play(RESERVED, Cancelled(), PaymentVoided(order_id=ID))[0].payment == "voided"
    assert play(*PAID, Cancelled(), PaymentRefunded(order_id=ID, amount=TOTAL, refunded=TOTAL))[0].payment == "refunded"


def test_patience_is_longer_with_a_customer_than_with_a_gateway_and_ends_before_the_reservation_does() -> None:
    patience = Patience()
    assert patience.within("reserved") == patience.within("authorised") == patience.payment
    assert patience.within("awaiting-customer") == patience.customer
    assert patience.payment < patience.customer < RESERVATION_LIFETIME
    assert [patience.within(status) for status in ("placed", "confirmed", "rejected")] == [None] * 3


@given(st.lists(st.sampled_from(ALL), max_size=14))
def test_whatever_comes_in_whatever_order_there_is_one_result_at_most(messages: list[Input]) -> None:
    saga, said = play(*messages)
    results = [kind for kind in said if kind in (OrderConfirmed, OrderRejected)]
    assert len(results) == (saga.status in ("confirmed", "rejected"))
    assert all(count == 1 for kind, count in Counter(said).items() if kind is not VoidPayment), "nothing is said twice"
    assert not {CommitStock, ReleaseStock} <= set(said), "stock is either sold or given back"


@given(st.lists(st.sampled_from(ALL), max_size=12))
def test_an_order_that_ended_stays_as_it_is(messages: list[Input]) -> None:
    for ended in (play(*PAID)[0], play(REFUSED)[0]):
        for message in messages:
            after, said = decide(ended, message)
            assert after == ended
            assert set(map(type, said)) <= {VoidPayment}


def test_the_page_about_orders_says_what_the_rules_do() -> None:
    assert (REPOSITORY / "docs" / "orders.md").read_text() == page(), "run ./justw documents"
    assert "| confirmed | the last parcel leaves | shipped | OrderShipped |" in page()
