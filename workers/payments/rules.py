"""What becomes of a payment: pure functions from what is wanted, and what the gateway says, to the next act.

A payment is driven by its goal. `want` changes the goal, `next_act` says what the gateway is to be asked for, `learn`
takes in what it said, `news` says what of that is new to the others.

Promise: a fact is said once, whatever comes how often and in which order; a goal of nothing is never given up, and it
is reached only when nothing can be under way at the gateway any more; the gateway's older word never replaces its newer
one; money goes back at most once for each refund.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid5

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

Command = AuthorisePayment | CapturePayment | VoidPayment | RefundPayment
Goal = Literal["authorised", "captured", "nothing"]
Status = Literal["pending", "unknown", "requires_action", "declined", "authorised", "failed", "voided", "captured"]
"""What the gateway has, as far as is known. `pending`: it was not asked yet. `unknown`: it was, and may have anything.
`failed`: the money is held and could not be taken. The later in this list, the newer of one payment's statuses."""
When = Literal["now", "later"] | None
RefundStatus = Literal["pending", "unknown", "refunded", "failed"]
Fact = Literal["requires_action", "declined", "authorised", "captured", "capture_failed", "voided"]
_AGE: dict[str, int] = {
    status: age
    for age, status in enumerate(("requires_action", "declined", "authorised", "failed", "voided", "captured"))
}


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long we wait for what may still be under way: `quiet`, after the last request, at the gateway; `settled`,
    after a movement of money, on its way into our books: longer than a message is tried again (topology.TIERS)."""

    quiet: timedelta = timedelta(minutes=10)
    settled: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class Refund:
    """Money that is to go back, in minor units; `asked_for` by an order, or what is left of a payment for nothing."""

    refund_id: UUID
    amount: int
    status: RefundStatus = "pending"
    code: str | None = None
    asked_for: bool = True

    @property
    def is_open(self) -> bool:
        """Whether it is still to be made, as far as is known."""
        return self.status in ("pending", "unknown")


@dataclass(frozen=True, kw_only=True)
class Payment:
    """What is known of an order's payment; the amount only if an authorisation told it. `said` are the facts that were
    told. `quiet`: nothing was asked of the gateway for so long that nothing can be under way there."""

    order_id: UUID
    goal: Goal = "authorised"
    status: Status = "pending"
    amount: Money | None = None
    method: str | None = None
    gateway_id: str | None = None
    code: str | None = None
    captured: int = 0
    client_secret: str | None = None
    next_action: dict[str, Any] | None = None
    refunds: tuple[Refund, ...] = ()
    said: frozenset[Fact] = frozenset()
    quiet: bool = False

    @property
    def refunded(self) -> int:
        """How much went back, in minor units."""
        return sum(refund.amount for refund in self.refunds if refund.status == "refunded")


# --- what is asked of the gateway -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """See what the gateway has."""


@dataclass(frozen=True)
class Authorise:
    """Hold the money."""


@dataclass(frozen=True)
class Capture:
    """Take the money that is held."""


@dataclass(frozen=True)
class Void:
    """Let go of the money that is held, or stop waiting for the customer."""


@dataclass(frozen=True)
class GiveBack:
    """Make a refund."""

    refund_id: UUID
    amount: int


Act = Look | Authorise | Capture | Void | GiveBack


class Step(NamedTuple):
    """What the gateway was asked for and what it said; nothing where the outcome is not known."""

    act: Act
    outcome: Outcome | None


def next_act(payment: Payment) -> Act | None:
    """What brings the payment nearer to its goal; None where it is reached, out of reach, or hidden."""
    if payment.status == "captured":
        due = next((refund for refund in payment.refunds if refund.is_open), None)
        return None if due is None else GiveBack(due.refund_id, due.amount)
    if payment.goal == "nothing":
        return Void() if payment.status in ("requires_action", "authorised", "failed") else None
    if payment.status in ("pending", "unknown") and payment.gateway_id is None and payment.amount is not None:
        return Authorise()  # once more, where its outcome is not known: the key makes it one effect
    return Capture() if (payment.goal, payment.status) == ("captured", "authorised") else None


def again(payment: Payment, steps: Sequence[Step]) -> When:
    """When the gateway has to be asked again, after these steps; later where it did not answer, or was asked for the
    same just now."""
    act = next_act(payment)
    asked, lost = {type(step.act) for step in steps}, any(step.outcome is None for step in steps)
    if act is not None and not lost and type(act) not in asked:
        return "now"
    return "later" if act is not None or payment.status in ("unknown", "requires_action") else None


# --- what is wanted and what is learnt --------------------------------------------------------------------------------


def want(payment: Payment, command: Command) -> Payment:
    """The payment with the goal that the command gives it. Nothing stays nothing."""
    if isinstance(command, AuthorisePayment):
        known = payment.amount is not None
        return payment if known else replace(payment, amount=command.amount, method=command.payment_method)
    if isinstance(command, RefundPayment):
        return _with_refund(payment, command)
    if isinstance(command, VoidPayment):
        return _with_rest(replace(payment, goal="nothing"))
    return payment if payment.goal == "nothing" else replace(payment, goal="captured")


def learn(payment: Payment, step: Step) -> Payment:
    """The payment after what the gateway said, or did not say."""
    if step.outcome is None:
        return _lost(payment, step.act)
    return _with_rest(_given_back(_told(payment, step.act, step.outcome), step.act, step.outcome))


_LOST: dict[type[Act], tuple[Status, ...]] = {
    Look: ("pending",),
    Authorise: ("pending", "unknown", "voided"),
    Capture: ("authorised", "failed"),
    Void: ("requires_action", "authorised", "failed"),
}


def _lost(payment: Payment, act: Act) -> Payment:
    """Unknown, unless more was learnt in the meantime."""
    if isinstance(act, GiveBack):
        return _marked(payment, act, "unknown")
    lost = payment.status in _LOST[type(act)] and (payment.status != "voided" or payment.gateway_id is None)
    return replace(payment, status="unknown", quiet=False) if lost else payment


def _told(payment: Payment, act: Act, outcome: Outcome) -> Payment:
    if outcome.status == "nothing":
        return _told_nothing(payment)
    if _is_old(payment, outcome):
        return payment
    could_not = isinstance(act, Capture) and outcome.status == "authorised"
    waits = outcome.status == "requires_action"
    return replace(
        payment,
        status="failed" if could_not else outcome.status,
        gateway_id=outcome.gateway_id,
        code=outcome.code,
        captured=outcome.captured,
        client_secret=outcome.client_secret if waits else None,
        next_action=outcome.next_action if waits else None,
    )


def _told_nothing(payment: Payment) -> Payment:
    """Where a request may still be under way, nothing is no answer to "will there be anything?"."""
    if payment.gateway_id is not None or payment.status not in ("pending", "unknown"):
        return payment
    is_final = payment.status == "pending" or payment.quiet
    return replace(payment, status="voided" if payment.goal == "nothing" else "pending") if is_final else payment


def _is_old(payment: Payment, outcome: Outcome) -> bool:
    """Whether more is known already; of another payment of the same order only counts that it may cost money."""
    if payment.status in ("pending", "unknown"):
        return False
    if payment.gateway_id in (None, outcome.gateway_id):
        return payment.gateway_id is not None and _AGE[outcome.status] < _AGE[payment.status]
    return payment.status not in ("declined", "voided") or outcome.status in ("declined", "voided")


def _given_back(payment: Payment, act: Act, outcome: Outcome) -> Payment:
    for refund in payment.refunds:
        if refund.refund_id in outcome.refunds and refund.status != "refunded":
            payment = _marked(payment, GiveBack(refund.refund_id, refund.amount), "refunded")
    if isinstance(act, GiveBack) and act.refund_id not in outcome.refunds:
        return _marked(payment, act, "failed", code=outcome.code or outcome.status)
    return payment


def _marked(payment: Payment, act: GiveBack, status: RefundStatus, code: str | None = None) -> Payment:
    refunds = tuple(
        replace(refund, status=status, code=code)
        if refund.refund_id == act.refund_id and refund.status != "refunded"
        else refund
        for refund in payment.refunds
    )
    return replace(payment, refunds=refunds)


def _with_refund(payment: Payment, command: RefundPayment) -> Payment:
    if any(refund.refund_id == command.refund_id for refund in payment.refunds):
        return payment
    refund = Refund(refund_id=command.refund_id, amount=command.amount.amount)
    if payment.status != "captured":
        refund = replace(refund, status="failed", code="not_captured")
    elif payment.amount is None or command.amount.currency != payment.amount.currency:
        refund = replace(refund, status="failed", code="wrong_currency")
    return replace(payment, refunds=(*payment.refunds, refund))


def _with_rest(payment: Payment) -> Payment:
    """What was captured for nothing goes back. Its id says after which refunds, so that everybody finds the same."""
    rest = payment.captured - payment.refunded
    if (payment.goal, payment.status) != ("nothing", "captured") or payment.amount is None or rest <= 0:
        return payment
    refund = Refund(refund_id=uuid5(payment.order_id, f"after {payment.refunded}"), amount=rest, asked_for=False)
    if any(other.is_open or other.refund_id == refund.refund_id for other in payment.refunds):
        return payment
    return replace(payment, refunds=(*payment.refunds, refund))


# --- what is said -----------------------------------------------------------------------------------------------------


def news(before: Payment, after: Payment) -> tuple[Payment, tuple[Event, ...]]:
    """The payment with all that is said of it by now, and what of that is said for the first time."""
    facts = [fact for fact in _facts(after) if fact not in after.said]
    events = [*(_event(fact, after) for fact in facts), *_refund_news(before, after)]
    return (replace(after, said=after.said.union(facts)) if facts else after), tuple(events)


def _facts(payment: Payment) -> Iterator[Fact]:
    status, wanted, amount_known = payment.status, payment.goal != "nothing", payment.amount is not None
    if wanted and status == "requires_action":
        yield "requires_action"
    if wanted and amount_known and status in ("authorised", "failed", "captured"):
        yield "authorised"
    if wanted and status in ("declined", "voided") and "authorised" not in payment.said:
        yield "declined"
    if payment.goal == "captured" and status in ("failed", "declined", "voided"):
        yield "capture_failed"
    if amount_known and status == "captured":
        yield "captured"
    if not wanted and status in ("declined", "voided"):
        yield "voided"


def _event(fact: Fact, payment: Payment) -> Event:
    order_id, code = payment.order_id, payment.code or payment.status
    match fact:
        case "requires_action":
            return PaymentRequiresAction(order_id=order_id)
        case "declined":
            return PaymentDeclined(order_id=order_id, code=code)
        case "authorised":
            return PaymentAuthorised(order_id=order_id, amount=_money(payment))
        case "captured":
            return PaymentCaptured(order_id=order_id, amount=_money(payment, payment.captured))
        case "capture_failed":
            return CaptureFailed(order_id=order_id, code=code)
        case "voided":
            return PaymentVoided(order_id=order_id)


def _refund_news(before: Payment, after: Payment) -> Iterator[Event]:
    known = {refund.refund_id: refund.status for refund in before.refunds}
    for refund in after.refunds:
        if refund.status == known.get(refund.refund_id):
            continue
        if refund.status == "refunded":
            yield PaymentRefunded(
                order_id=after.order_id,
                refund_id=refund.refund_id if refund.asked_for else None,
                amount=_money(after, refund.amount),
                refunded=_money(after, after.refunded),
            )
        elif refund.status == "failed" and refund.asked_for:
            yield RefundFailed(order_id=after.order_id, refund_id=refund.refund_id, code=refund.code or "failed")


def is_stuck(before: Payment, after: Payment) -> bool:
    """Whether the bank has just refused to take back what was paid for nothing: a person has to see to it."""
    return any(refund.status == "failed" and not refund.asked_for for refund in {*after.refunds} - {*before.refunds})


def _money(payment: Payment, amount: int | None = None) -> Money:
    """Raises ValueError for a payment whose amount nobody told."""
    if payment.amount is None:
        raise ValueError(f"the amount of the payment for order {payment.order_id} is not known")
    return payment.amount if amount is None else Money(amount=amount, currency=payment.amount.currency)
