from dataclasses import replace
from uuid import UUID

import pytest

from broker.ids import new_id
from contracts.base import Event, Money
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
    RefundFailed,
    RefundPayment,
    VoidPayment,
)
from workers.payments.gateway import Outcome
from workers.payments.rules import (
    Act,
    Authorise,
    Capture,
    GiveBack,
    Look,
    Payment,
    Refund,
    Step,
    Void,
    again,
    is_stuck,
    learn,
    news,
    next_act,
    want,
)

ORDER: UUID = new_id()
PRICE = Money(amount=1999, currency="EUR")
AUTHORISE = AuthorisePayment(order_id=ORDER, amount=PRICE, payment_method="pm_card_visa")
CAPTURE, VOID = CapturePayment(order_id=ORDER), VoidPayment(order_id=ORDER)
REFUND = RefundPayment(order_id=ORDER, refund_id=new_id(), amount=Money(amount=500, currency="EUR"))
NOTHING, HELD = Outcome(), Outcome(status="authorised", gateway_id="pay_1")
TAKEN = Outcome(status="captured", gateway_id="pay_1", captured=1999)
LET_GO = Outcome(status="voided", gateway_id="pay_1")
DECLINED = Outcome(status="declined", gateway_id="pay_1", code="card_declined")
WAITING = Outcome(
    status="requires_action", gateway_id="pay_1", client_secret="s", next_action={"type": "redirect_to_url"}
)
COULD_NOT = replace(HELD, code="capture_failed")
NEW = Payment(order_id=ORDER)
ASKED = want(NEW, AUTHORISE)


def told(payment: Payment, outcome: Outcome | None, act: Act | None = None) -> tuple[Payment, tuple[Event, ...]]:
    """The payment once the gateway has answered what is due (or `act`), and what is said because of it."""
    due = act or next_act(payment) or Look()
    return news(payment, learn(payment, Step(due, outcome)))


def after(payment: Payment, *outcomes: Outcome | None) -> Payment:
    for outcome in outcomes:
        payment, _ = told(payment, outcome)
    return payment


AUTHORISED = after(ASKED, HELD)
CAPTURED = after(want(AUTHORISED, CAPTURE), TAKEN)


# --- authorise --------------------------------------------------------------------------------------------------------


def test_money_is_asked_for_and_said_to_be_authorised() -> None:
    assert next_act(ASKED) == Authorise()
    payment, said = told(ASKED, HELD)
    assert said == (PaymentAuthorised(order_id=ORDER, amount=PRICE),)
    assert (payment.status, payment.gateway_id, next_act(payment)) == ("authorised", "pay_1", None)


def test_a_declined_card_is_said_with_its_code() -> None:
    payment, said = told(ASKED, DECLINED)
    assert said == (PaymentDeclined(order_id=ORDER, code="card_declined"),)
    assert again(payment, ()) is None


def test_a_card_that_asks_for_the_customer_is_said_without_the_secret_and_waited_for() -> None:
    payment, said = told(ASKED, WAITING)
    assert said == (PaymentRequiresAction(order_id=ORDER),)
    assert (payment.client_secret, payment.next_action) == ("s", {"type": "redirect_to_url"})
    assert again(payment, ()) == "later"


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (HELD, PaymentAuthorised(order_id=ORDER, amount=PRICE)),
        (DECLINED, PaymentDeclined(order_id=ORDER, code="card_declined")),
    ],
)
def test_what_the_customer_settled_is_said_and_the_secret_forgotten(outcome: Outcome, said: Event) -> None:
    payment, events = told(after(ASKED, WAITING), outcome, Look())
    assert events == (said,)
    assert (payment.client_secret, payment.next_action) == (None, None)


def test_no_answer_is_an_unknown_outcome_and_says_nothing() -> None:
    payment, said = told(ASKED, None)
    assert (payment.status, said) == ("unknown", ())
    assert again(payment, [Step(Authorise(), None)]) == "later"


def test_an_unknown_outcome_is_resolved_by_looking() -> None:
    assert told(after(ASKED, None), HELD, Look())[1] == (PaymentAuthorised(order_id=ORDER, amount=PRICE),)


def test_where_the_gateway_has_nothing_it_is_asked_again() -> None:
    payment, said = told(after(ASKED, None), NOTHING, Look())
    assert (payment.status, said, next_act(payment)) == ("unknown", (), Authorise())


def test_a_look_from_before_does_not_make_an_unknown_outcome_known() -> None:
    unknown = after(ASKED, None)
    for payment, is_final in ((unknown, "pending"), (replace(unknown, goal="nothing"), "voided")):
        assert told(payment, NOTHING, Look())[0].status == "unknown"
        assert told(replace(payment, quiet=True), NOTHING, Look())[0].status == is_final


# --- capture ----------------------------------------------------------------------------------------------------------


def test_held_money_is_taken_and_said_to_be_captured() -> None:
    wanted = want(AUTHORISED, CAPTURE)
    assert next_act(wanted) == Capture()
    payment, said = told(wanted, TAKEN)
    assert said == (PaymentCaptured(order_id=ORDER, amount=PRICE),)
    assert (payment.captured, next_act(payment)) == (1999, None)


@pytest.mark.parametrize(("outcome", "code"), [(COULD_NOT, "capture_failed"), (LET_GO, "voided")])
def test_money_that_can_not_be_taken_is_said_to_have_failed(outcome: Outcome, code: str) -> None:
    payment, said = told(want(AUTHORISED, CAPTURE), outcome)
    assert said == (CaptureFailed(order_id=ORDER, code=code),)
    assert next_act(payment) is None


def test_a_capture_of_which_nothing_is_known_is_asked_again_where_the_money_is_still_held() -> None:
    unknown = after(want(AUTHORISED, CAPTURE), None)
    assert unknown.status == "unknown"
    payment, said = told(unknown, HELD, Look())
    assert (said, next_act(payment)) == ((), Capture())


def test_a_capture_that_overtakes_its_authorisation_follows_it() -> None:
    early = want(NEW, CAPTURE)
    assert next_act(early) is None
    payment, _ = told(want(early, AUTHORISE), HELD)
    assert (next_act(payment), again(payment, [Step(Authorise(), HELD)])) == (Capture(), "now")


# --- nothing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payment", [AUTHORISED, after(ASKED, WAITING), after(want(AUTHORISED, CAPTURE), COULD_NOT)])
def test_what_is_held_for_nothing_is_let_go(payment: Payment) -> None:
    wanted = want(payment, VOID)
    assert next_act(wanted) == Void()
    done, said = told(wanted, LET_GO)
    assert said == (PaymentVoided(order_id=ORDER),)
    assert again(done, ()) is None


def test_of_a_declined_payment_nothing_is_held() -> None:
    assert news(after(ASKED, DECLINED), want(after(ASKED, DECLINED), VOID))[1] == (PaymentVoided(order_id=ORDER),)


def test_nothing_stays_nothing_whatever_is_wanted_later() -> None:
    assert want(want(want(NEW, VOID), AUTHORISE), CAPTURE).goal == "nothing"


def test_a_void_before_anything_was_asked_is_said_and_money_held_later_is_let_go_silently() -> None:
    voided, said = told(want(NEW, VOID), NOTHING, Look())
    assert (voided.status, said) == ("voided", (PaymentVoided(order_id=ORDER),))
    assert next_act(want(voided, AUTHORISE)) is None
    late, said = told(want(voided, AUTHORISE), HELD, Authorise())
    assert (said, next_act(late)) == ((), Void())
    assert again(late, [Step(Authorise(), HELD)]) == "now"


def test_an_authorisation_of_which_nothing_is_known_makes_a_voided_payment_unknown_again() -> None:
    voided, _ = told(want(NEW, VOID), NOTHING, Look())
    assert told(want(voided, AUTHORISE), None, Authorise())[0].status == "unknown"


def test_while_a_request_may_be_under_way_nothing_is_not_believed() -> None:
    payment, said = told(want(after(ASKED, None), VOID), NOTHING, Look())
    assert (payment.status, said, again(payment, ())) == ("unknown", (), "later")
    assert told(replace(payment, quiet=True), NOTHING, Look())[1] == (PaymentVoided(order_id=ORDER),)


def test_a_gateway_that_has_forgotten_what_it_held_is_not_believed() -> None:
    payment, said = told(want(AUTHORISED, VOID), NOTHING, Look())
    assert (said, next_act(payment)) == ((), Void())


def test_what_was_captured_for_nothing_goes_back() -> None:
    wanted = want(CAPTURED, VOID)
    act = next_act(wanted)
    assert isinstance(act, GiveBack)
    assert act.amount == 1999
    back = replace(TAKEN, refunds=frozenset({act.refund_id}))
    done, said = told(wanted, back)
    assert said == (PaymentRefunded(order_id=ORDER, amount=PRICE, refunded=PRICE),)
    assert again(done, ()) is None
    assert want(done, VOID) == done


def test_a_void_that_comes_after_the_capture_gives_the_money_back() -> None:
    payment, said = told(want(AUTHORISED, VOID), TAKEN)
    assert said == (PaymentCaptured(order_id=ORDER, amount=PRICE),)
    assert isinstance(next_act(payment), GiveBack)


def test_only_the_rest_of_what_was_captured_for_nothing_goes_back() -> None:
    partly = after(want(CAPTURED, REFUND), replace(TAKEN, refunds=frozenset({REFUND.refund_id})))
    act = next_act(want(partly, VOID))
    assert isinstance(act, GiveBack)
    assert act.amount == 1499


def test_a_refund_that_is_under_way_is_not_given_back_twice() -> None:
    wanted = want(want(CAPTURED, REFUND), VOID)
    assert next_act(wanted) == GiveBack(REFUND.refund_id, 500)
    payment, _ = told(wanted, replace(TAKEN, refunds=frozenset({REFUND.refund_id})))
    act = next_act(payment)
    assert isinstance(act, GiveBack)
    assert act.amount == 1499


def test_a_rest_that_the_bank_refuses_is_for_a_person_to_see_to_and_not_asked_for_without_end() -> None:
    wanted = want(CAPTURED, VOID)
    payment, said = told(wanted, replace(TAKEN, code="refund_failed"))
    assert (said, next_act(payment), again(payment, ())) == ((), None, None)
    assert is_stuck(wanted, payment)
    assert not is_stuck(payment, payment)


# --- refunds ----------------------------------------------------------------------------------------------------------


def test_a_refund_is_made_and_said_with_the_sum_of_all() -> None:
    wanted = want(CAPTURED, REFUND)
    assert next_act(wanted) == GiveBack(REFUND.refund_id, 500)
    payment, said = told(wanted, replace(TAKEN, refunds=frozenset({REFUND.refund_id})))
    assert said == (
        PaymentRefunded(order_id=ORDER, refund_id=REFUND.refund_id, amount=REFUND.amount, refunded=REFUND.amount),
    )
    assert want(payment, REFUND) == payment


def test_a_refund_that_the_bank_refuses_is_said_with_its_code() -> None:
    payment, said = told(want(CAPTURED, REFUND), replace(TAKEN, code="refund_failed"))
    assert said == (RefundFailed(order_id=ORDER, refund_id=REFUND.refund_id, code="refund_failed"),)
    assert next_act(payment) is None


def test_a_refund_of_which_nothing_is_known_is_asked_again_unless_it_was_made() -> None:
    unknown, said = told(want(CAPTURED, REFUND), None)
    assert ([refund.status for refund in unknown.refunds], said) == (["unknown"], ())
    assert again(unknown, [Step(GiveBack(REFUND.refund_id, 500), None)]) == "later"
    assert next_act(told(unknown, TAKEN, Look())[0]) == GiveBack(REFUND.refund_id, 500)
    made, said = told(unknown, replace(TAKEN, refunds=frozenset({REFUND.refund_id})), Look())
    assert (next_act(made), len(said)) == (None, 1)


@pytest.mark.parametrize("payment", [NEW, AUTHORISED, after(ASKED, DECLINED)])
def test_what_was_not_captured_is_not_refunded(payment: Payment) -> None:
    _, said = news(payment, want(payment, REFUND))
    assert said == (RefundFailed(order_id=ORDER, refund_id=REFUND.refund_id, code="not_captured"),)


def test_a_refund_in_another_currency_fails() -> None:
    foreign = REFUND.model_copy(update={"amount": Money(amount=500, currency="USD")})
    assert want(CAPTURED, foreign).refunds == (
        Refund(refund_id=REFUND.refund_id, amount=500, status="failed", code="wrong_currency"),
    )


# --- what is old ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [NOTHING, WAITING, HELD])
def test_the_gateways_older_word_changes_nothing(old: Outcome) -> None:
    assert told(CAPTURED, old, Look()) == (CAPTURED, ())


def test_no_answer_does_not_unsettle_what_another_found_out() -> None:
    assert told(CAPTURED, None, Capture()) == (CAPTURED, ())
    assert told(AUTHORISED, None, Authorise()) == (AUTHORISED, ())
    assert told(AUTHORISED, None, Look()) == (AUTHORISED, ())


def test_a_second_payment_that_holds_money_for_nothing_is_let_go() -> None:
    voided = after(want(AUTHORISED, VOID), LET_GO)
    payment, said = told(voided, replace(HELD, gateway_id="pay_2"), Look())
    assert (payment.gateway_id, next_act(payment), said) == ("pay_2", Void(), ())
