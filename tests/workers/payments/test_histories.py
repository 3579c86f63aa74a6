"""Random histories of one payment: commands and answers that get lost, are late or come twice; then the books."""

from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.ids import new_id
from contracts.base import Event, Money
from contracts.payments import (
    AuthorisePayment,
    CapturePayment,
    PaymentCaptured,
    PaymentRefunded,
    RefundPayment,
    VoidPayment,
)
from workers.payments.gateway import Outcome
from workers.payments.rules import (
    Act,
    Authorise,
    Capture,
    Command,
    GiveBack,
    Look,
    Payment,
    Step,
    Void,
    again,
    learn,
    news,
    next_act,
    want,
)

ORDER = new_id()
PRICE = Money(amount=1000, currency="EUR")
REFUNDS = tuple(new_id() for _ in range(3))
COMMANDS: tuple[Command, ...] = (
    AuthorisePayment(order_id=ORDER, amount=PRICE, payment_method="pm_card_visa"),
    CapturePayment(order_id=ORDER),
    VoidPayment(order_id=ORDER),
    *(RefundPayment(order_id=ORDER, refund_id=id_, amount=Money(amount=400, currency="EUR")) for id_ in REFUNDS),
)


@dataclass
class FakeGateway:
    """One payment, whose effects happen once each, as idempotency keys make them."""

    has: Outcome = field(default_factory=Outcome)
    refunded: int = 0
    answers: dict[Act, Outcome] = field(default_factory=dict)

    def do(self, act: Act) -> Outcome:
        if isinstance(act, Look):
            return self.has
        if act not in self.answers:
            self.answers[act] = self._effect(act)
        return self.answers[act]

    def _effect(self, act: Act) -> Outcome:
        match act:
            case Authorise():
                self.has = Outcome(status="authorised", gateway_id="pay_1")
            case Capture() if self.has.status == "authorised":
                self.has = replace(self.has, status="captured", captured=PRICE.amount)
            case Void() if self.has.status == "authorised":
                self.has = replace(self.has, status="voided")
            case GiveBack(id_, amount) if amount <= self.has.captured - self.refunded:
                self.refunded += amount
                self.has = replace(self.has, refunds=self.has.refunds | {id_})
            case _:
                return replace(self.has, code="refused")
        return self.has


class History:
    """Our row, the gateway, and what was said."""

    def __init__(self) -> None:
        self.gateway = FakeGateway()
        self.row = Payment(order_id=ORDER)
        self.said: list[Event] = []
        self.under_way: list[Act] = []
        self.late: list[tuple[Command | None, tuple[Step, ...]]] = []

    def attempt(self, command: Command | None, fate: str) -> None:
        """What a worker does: read the row, ask the gateway, record; its record may come later, or never."""
        payment = self.row if command is None else want(self.row, command)
        steps: list[Step] = []
        act: Act | None = Look() if command is None or payment.status in ("pending", "unknown") else next_act(payment)
        if isinstance(command, AuthorisePayment):
            payment = want(Payment(order_id=ORDER), command)
            act = next_act(payment)
        while act is not None and type(act) not in {type(step.act) for step in steps}:
            steps.append(Step(act, self.ask(act, fate)))
            if steps[-1].outcome is None:
                break
            payment = learn(payment, steps[-1])
            act = next_act(payment)
        if fate == "late":
            self.late.append((command, tuple(steps)))
        else:
            self.record(command, tuple(steps))

    def ask(self, act: Act, fate: str) -> Outcome | None:
        """The gateway's answer, if it comes; what is under way when nobody waits any more has its effect later."""
        if fate == "under way" and not isinstance(act, Look):
            self.under_way.append(act)
        outcome = None if fate in ("lost before", "under way") else self.gateway.do(act)
        return None if fate == "lost after" else outcome

    def record(self, command: Command | None, steps: tuple[Step, ...]) -> None:
        after = self.row if command is None else want(self.row, command)
        for step in steps:
            after = learn(after, step)
        self.row, events = news(self.row, after)
        self.said += events

    def come_to_rest(self) -> None:
        """What was late comes, and the chore runs until nothing is to be done."""
        for act in self.under_way:
            self.gateway.do(act)
        for command, steps in self.late:
            self.record(command, steps)
        for _ in range(20):
            self.row = replace(self.row, quiet=True)
            if again(self.row, ()) is not None:
                self.attempt(None, "fine")
        assert again(self.row, ()) is None


fates = st.sampled_from(["fine", "fine", "lost before", "lost after", "under way", "late"])
attempts = st.tuples(st.sampled_from((None, *COMMANDS)), fates)


@settings(max_examples=500)
@example([(None, "late"), (COMMANDS[2], "late"), (COMMANDS[0], "lost after")])
@given(st.lists(attempts, max_size=12))
def test_whatever_gets_lost_facts_are_said_once_and_the_books_agree(story: list[tuple[Command | None, str]]) -> None:
    history = History()
    for command, fate in story:
        history.attempt(command, fate)
    history.come_to_rest()

    row, has = history.row, history.gateway.has
    kinds = Counter(type(event).__name__ for event in history.said if not isinstance(event, PaymentRefunded))
    kinds.pop("RefundFailed", None)
    assert not [kind for kind, times in kinds.items() if times > 1]
    assert (row.captured, row.refunded) == (has.captured, history.gateway.refunded)
    captured = sum(event.amount.amount for event in history.said if isinstance(event, PaymentCaptured))
    refunded = [event for event in history.said if isinstance(event, PaymentRefunded)]
    assert (captured, sum(event.amount.amount for event in refunded)) == (has.captured, history.gateway.refunded)
    asked = [event.refund_id for event in refunded if event.refund_id is not None]
    assert len(asked) == len(set(asked))
    if any(isinstance(command, VoidPayment) for command, _ in story):
        assert has.status != "authorised"
        assert has.captured == history.gateway.refunded
    elif any(isinstance(command, AuthorisePayment) for command, _ in story):
        assert has.status in ("authorised", "captured")
