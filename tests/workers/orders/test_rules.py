"""The saga as a pure function."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.base import Money, Said
from contracts.catalog import CommitStock, ReleaseStock, ReserveStock, StockRefused, StockReserved
from contracts.orders import OrderConfirmed, OrderRejected
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    VoidPayment,
)
from workers.orders.rules import Bought, Saga, begin, decide

ID = UUID(int=7)
TOTAL = Money(amount=1999, currency="EUR")
PLACED = Saga(ID, "placed", "pending", None, (Bought("a", 2, 1999),), TOTAL, "pm_card_visa")

RESERVED = StockReserved(order_id=ID)
REFUSED = StockRefused(order_id=ID, skus=("a",))
AUTHORISED = PaymentAuthorised(order_id=ID, amount=TOTAL)
DECLINED = PaymentDeclined(order_id=ID, code="card_declined")
CAPTURED = PaymentCaptured(order_id=ID, amount=TOTAL)
CAPTURE_FAILED = CaptureFailed(order_id=ID, code="expired")
ALL: list[Said] = [RESERVED, REFUSED, AUTHORISED, DECLINED, CAPTURED, CAPTURE_FAILED]


def play(*messages: Said) -> tuple[Saga, list[type[Said]]]:
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


@given(st.lists(st.sampled_from(ALL), max_size=12))
def test_whatever_comes_in_whatever_order_there_is_one_result_at_most(messages: list[Said]) -> None:
    saga, said = play(*messages)
    results = [kind for kind in said if kind in (OrderConfirmed, OrderRejected)]
    assert len(results) == (saga.status in ("confirmed", "rejected"))
    assert len(said) == len(set(said)), "nothing is said twice"
    assert not {CommitStock, ReleaseStock} <= set(said), "stock is either sold or given back"


@given(st.lists(st.sampled_from(ALL), max_size=12))
def test_an_order_that_ended_stays_as_it_is(messages: list[Said]) -> None:
    for ended in (play(RESERVED, AUTHORISED, CAPTURED)[0], play(REFUSED)[0]):
        for message in messages:
            assert decide(ended, message) == (ended, ())
