from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ids import new_id
from contracts.base import Money
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentVoided,
    VoidPayment,
)
from workers.payments.gateway import Outcome
from workers.payments.rules import (
    Decision,
    Status,
    TooEarly,
    after_authorising,
    after_capturing,
    after_voiding,
)

ORDER: UUID = new_id()
PRICE = Money(amount=1999, currency="EUR")
COMMAND = AuthorisePayment(order_id=ORDER, amount=PRICE, payment_method="pm_card_visa")
NOTHING, HELD, TAKEN = Outcome(), Outcome(status="authorised"), Outcome(status="captured")
LET_GO, DECLINED = Outcome(status="voided"), Outcome(status="declined", code="card_declined")
REFUSED = Outcome(status="authorised", code="capture_failed")

statuses = st.sampled_from(get_args(Status))
outcomes = st.sampled_from([NOTHING, HELD, TAKEN, LET_GO, DECLINED, REFUSED])


def test_held_money_is_said_to_be_authorised() -> None:
    said = PaymentAuthorised(order_id=ORDER, amount=PRICE)
    assert after_authorising("pending", COMMAND, HELD) == Decision(status="authorised", events=(said,))


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (DECLINED, "card_declined"),
        (Outcome(status="voided", code="authentication_required"), "authentication_required"),
        (LET_GO, "voided"),
        (NOTHING, "gateway_timeout"),
    ],
)
def test_what_is_not_held_is_declined_with_a_code(outcome: Outcome, code: str) -> None:
    said = PaymentDeclined(order_id=ORDER, code=code)
    assert after_authorising("pending", COMMAND, outcome) == Decision(status="declined", code=code, events=(said,))


def test_money_held_for_a_voided_payment_is_let_go_again() -> None:
    assert after_authorising("voided", COMMAND, HELD) == Decision(commands=(VoidPayment(order_id=ORDER),))


def test_a_voided_payment_that_is_declined_stays_voided() -> None:
    assert after_authorising("voided", COMMAND, DECLINED) == Decision()


def test_taken_money_is_said_to_be_captured() -> None:
    said = PaymentCaptured(order_id=ORDER, amount=PRICE)
    assert after_capturing("authorised", ORDER, PRICE, TAKEN) == Decision(status="captured", events=(said,))


@pytest.mark.parametrize(("outcome", "code"), [(REFUSED, "capture_failed"), (LET_GO, "voided"), (NOTHING, "nothing")])
def test_money_that_can_not_be_taken_is_said_to_have_failed(outcome: Outcome, code: str) -> None:
    said = CaptureFailed(order_id=ORDER, code=code)
    assert after_capturing("authorised", ORDER, PRICE, outcome) == Decision(status="failed", code=code, events=(said,))


@given(outcomes)
def test_a_capture_that_overtakes_its_authorisation_waits(outcome: Outcome) -> None:
    with pytest.raises(TooEarly):
        after_capturing("pending", ORDER, None, outcome)


@pytest.mark.parametrize("status", ["pending", "authorised", "declined", "failed"])
def test_money_that_is_let_go_is_said_to_be_voided(status: Status) -> None:
    said = PaymentVoided(order_id=ORDER)
    assert after_voiding(status, ORDER, None, LET_GO) == Decision(status="voided", events=(said,))


def test_a_void_that_overtakes_its_authorisation_is_remembered() -> None:
    assert after_voiding("pending", ORDER, None, NOTHING).status == "voided"


def test_a_void_that_finds_the_money_taken_says_so() -> None:
    assert after_voiding("authorised", ORDER, PRICE, TAKEN).events == (PaymentCaptured(order_id=ORDER, amount=PRICE),)


@given(st.sampled_from(["pending", "authorised", "declined", "failed"]))
def test_money_that_is_still_held_is_not_said_to_be_voided(status: Status) -> None:
    with pytest.raises(TooEarly):
        after_voiding(status, ORDER, PRICE, HELD)


def test_a_payment_that_we_know_and_the_gateway_does_not_is_not_said_to_be_voided() -> None:
    with pytest.raises(TooEarly):
        after_voiding("authorised", ORDER, PRICE, NOTHING)


@given(statuses, outcomes)
def test_an_authorisation_that_comes_again_says_nothing_new(status: Status, outcome: Outcome) -> None:
    decided = after_authorising(status, COMMAND, outcome).status or status
    assert after_authorising(decided, COMMAND, outcome).events == ()


@given(statuses.filter(lambda status: status != "pending"), outcomes)
def test_a_capture_that_comes_again_says_nothing_new(status: Status, outcome: Outcome) -> None:
    decided = after_capturing(status, ORDER, PRICE, outcome).status or status
    assert after_capturing(decided, ORDER, PRICE, outcome) == Decision()


@given(statuses, st.sampled_from([TAKEN, LET_GO, DECLINED]))
def test_a_void_that_comes_again_says_nothing_new(status: Status, outcome: Outcome) -> None:
    try:
        decided = after_voiding(status, ORDER, PRICE, outcome).status or status
    except TooEarly:
        return
    assert after_voiding(decided, ORDER, PRICE, outcome) == Decision()
