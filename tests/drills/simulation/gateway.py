"""The fake gateway: it holds, takes, lets go and gives back money, and has an honest ledger of it.

A write with the same key has no second effect. Any call may go unanswered, without its effect, with it, or with the
effect coming after the caller has stopped waiting. Every effect is told by webhook, late or twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from tests.drills.simulation.agenda import Agenda

SILENCE = 10.0
"""How long a caller waits for an answer, in seconds."""
HALF_AN_HOUR = 1800.0

Method = Literal[
    "pays",
    "is_declined",
    "asks_the_customer",
    "never_answers",
    "fails_once",
    "fails_to_capture",
    "fails_to_refund",
]
METHODS: tuple[Method, ...] = (
    "pays",
    "pays",
    "is_declined",
    "asks_the_customer",
    "never_answers",
    "fails_once",
    "fails_to_capture",
    "fails_to_refund",
    "fails_to_refund",
)
Status = Literal["nothing", "requires-action", "authorised", "captured", "declined", "voided"]


@dataclass(frozen=True)
class Money:
    """A payment as the gateway has it. `refunds` is what went back, by the key under which it was asked for."""

    reference: str = ""
    amount: int = 0
    method: str = "pays"
    status: Status = "nothing"
    capture_failed: bool = False
    refunds: dict[str, int] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()

    @property
    def refunded(self) -> int:
        """The sum of what went back."""
        return sum(self.refunds.values())


Found = Callable[[Money | None], None]
"""Hears what there is; None: no answer came."""
Done = Callable[[], None]
Answered = Callable[[bool], None]
"""Hears whether the gateway has kept a failure for the key; False where no answer came."""


class Gateway:
    """One payment a key of `authorise`; usually that is one an order."""

    def __init__(self, agenda: Agenda, chance: Random, silent: float) -> None:
        self._agenda = agenda
        self._chance = chance
        self._silent = silent
        self._kept: set[str] = set()
        self.payments: dict[str, Money] = {}
        self.ledger: list[tuple[str, str, int]] = []
        self.tell: Callable[[str], None] = lambda reference: None

    def find(self, reference: str, found: Found) -> None:
        """What there is under a reference; of several payments the one that holds or took money."""
        if self._is_lost():
            self._agenda.after(SILENCE, lambda: found(None))
            return

        def look() -> None:
            found(self.look(reference))

        self._agenda.after(self._moment, look)

    def look(self, reference: str) -> Money:
        """The same, at once."""
        order = ("nothing", "declined", "voided", "requires-action", "authorised", "captured")
        mine = (money for money in self.payments.values() if money.reference == reference)
        return max(mine, key=lambda money: order.index(money.status), default=Money())

    def authorise(self, reference: str, amount: int, method: str, key: str, answered: Answered) -> None:
        """Hold money. `never_answers` and `fails_once` do what they are called."""
        fails = method == "fails_once" and key.endswith(":1")

        def hold() -> None:
            if fails:
                return
            asked: dict[str, Status] = {"is_declined": "declined", "asks_the_customer": "requires-action"}
            self._put(key, Money(reference, amount, method, asked.get(method, "authorised")))

        lost = method == "never_answers" or self._is_lost()
        self._write(key, hold, lambda: answered(fails and not lost), lost=lost, never=method == "never_answers")

    def capture(self, payment: str, key: str, done: Done) -> None:
        """Take what is held."""

        def take() -> None:
            money = self.payments[payment]
            if money.status == "authorised" and money.method == "fails_to_capture":
                self._put(payment, replace(money, capture_failed=True))
            elif money.status == "authorised":
                self._put(payment, replace(money, status="captured"))

        self._write(key, take, done)

    def void(self, payment: str, key: str, done: Done) -> None:
        """Let go of what is held, or stop waiting for the customer."""

        def let_go() -> None:
            money = self.payments[payment]
            if money.status in ("authorised", "requires-action"):
                self._put(payment, replace(money, status="voided"))

        self._write(key, let_go, done)

    def refund(self, payment: str, amount: int, key: str, done: Done) -> None:
        """Give back a part of what was taken; refused where it is more than is left, and where the method says so."""

        def give_back() -> None:
            money = self.payments[payment]
            refusing = money.method == "fails_to_refund" and "all" not in key and self._chance.random() < 0.7
            if money.status != "captured" or money.refunded + amount > money.amount or refusing:
                self._put(payment, replace(money, refused=money.refused | {key}))
            else:
                self._put(payment, replace(money, refunds={**money.refunds, key: amount}))
                self.ledger.append(("refunded", money.reference, amount))

        self._write(key, give_back, done)

    def authenticate(self, reference: str, *, succeeds: bool) -> None:
        """The customer answered the bank."""
        for key, money in list(self.payments.items()):
            if money.reference == reference and money.status == "requires-action":
                self._put(key, replace(money, status="authorised" if succeeds else "declined"))

    def payment_of(self, reference: str) -> str:
        """The key of the payment that `look` finds."""
        found = self.look(reference)
        return next(key for key, money in self.payments.items() if money is found)

    @property
    def _moment(self) -> float:
        return self._chance.uniform(0.01, 0.3)

    def _is_lost(self) -> bool:
        return self._chance.random() < self._silent

    def _write(self, key: str, effect: Done, done: Done, *, lost: bool | None = None, never: bool = False) -> None:
        def once() -> None:
            if key not in self._kept:
                self._kept.add(key)
                effect()

        def at_once() -> None:
            once()
            done()

        if not (self._is_lost() if lost is None else lost):
            self._agenda.after(self._moment, at_once)
            return
        self._agenda.after(SILENCE, done)
        if not never and self._chance.random() < 0.6:
            self._agenda.after(self._chance.uniform(0, self._chance.choice((SILENCE, HALF_AN_HOUR))), once)

    def _put(self, key: str, money: Money) -> None:
        before = self.payments.get(key, Money()).status
        self.payments[key] = money
        if money.status != before:
            self.ledger.append((money.status, money.reference, money.amount))
        for _ in range(self._chance.choice((1, 1, 2))):
            self._agenda.after(self._chance.uniform(0, 60), lambda: self.tell(money.reference))
