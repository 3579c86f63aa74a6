"""A model of the payments service: what contracts/payments.py says of its commands, and no more.

What an order wants of the gateway is a duty. The model looks at what the gateway has, does what is still missing, and
looks again until nothing is; a fact is said when it was seen, once. So an outcome that is not known is never guessed,
and a payment that is not wanted stays watched: what turns up for it later, told by a webhook, is let go or given back.
"""

from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from contracts.base import Money as Amount
from contracts.base import Said
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
from tests.drills.simulation.agenda import Agenda
from tests.drills.simulation.bus import Bus, NotYetError
from tests.drills.simulation.gateway import Gateway, Money

_TRIES = 6


@dataclass
class Account:
    """The payment of one order: what is wanted of it, and which facts about it have been said."""

    order_id: UUID
    asked: AuthorisePayment | None = None
    capture: bool = False
    unwanted: bool = False
    refunds: dict[UUID, int] = field(default_factory=dict)
    tries: int = 0
    keys_spent: int = 0
    said: set[object] = field(default_factory=set)
    is_looking: bool = False
    looks_again: bool = False

    @property
    def reference(self) -> str:
        """How the gateway knows it."""
        return str(self.order_id)


class Payments:
    """Does what it is commanded, and keeps doing it."""

    def __init__(self, bus: Bus, agenda: Agenda, chance: Random, gateway: Gateway) -> None:
        self._bus = bus
        self._agenda = agenda
        self._chance = chance
        self._gateway = gateway
        self.accounts: dict[UUID, Account] = {}
        gateway.tell = self._told
        bus.connect(
            "payments",
            {
                AuthorisePayment: self.authorise,
                CapturePayment: self.capture,
                VoidPayment: self.void,
                RefundPayment: self.refund,
            },
        )

    def authorise(self, command: AuthorisePayment) -> tuple[Said, ...]:
        """Hold the money, unless it is known already that nothing shall be paid."""
        account = self._account(command.order_id)
        account.asked = account.asked or command
        return self._pursue(account)

    def capture(self, command: CapturePayment) -> tuple[Said, ...]:
        """Take it."""
        account = self._account(command.order_id)
        account.capture = True
        return self._pursue(account)

    def void(self, command: VoidPayment) -> tuple[Said, ...]:
        """From now on nothing shall be paid."""
        account = self._account(command.order_id)
        account.unwanted = True
        return self._pursue(account)

    def refund(self, command: RefundPayment) -> tuple[Said, ...]:
        """Give a part back; what was not captured yet can't be."""
        account = self._account(command.order_id)
        if "captured" not in account.said:
            raise NotYetError
        account.refunds.setdefault(command.refund_id, command.amount.amount)
        return self._pursue(account)

    def _account(self, order_id: UUID) -> Account:
        return self.accounts.setdefault(order_id, Account(order_id))

    def _told(self, reference: str) -> None:
        self._pursue(self.accounts[UUID(reference)])

    # --- the conversation with the gateway, one at a time a payment ---------------------------------------------------

    def _pursue(self, account: Account) -> tuple[Said, ...]:
        account.looks_again = account.is_looking
        if not account.is_looking:
            account.is_looking = True
            self._look(account)
        return ()

    def _look(self, account: Account) -> None:
        self._gateway.find(account.reference, lambda seen: self._seen(account, seen))

    def _seen(self, account: Account, seen: Money | None) -> None:
        if seen is None:
            self._agenda.after(self._chance.uniform(1, 30), lambda: self._look(account))
            return
        if self._does_what_is_missing(account, seen):
            return
        self._bus.publish("payments", *self._facts(account, seen))
        account.is_looking = False
        if account.looks_again:
            self._pursue(account)

    def _does_what_is_missing(self, account: Account, seen: Money) -> bool:
        """Whether there was something to do; after it, whatever came of it, there is another look."""

        def look() -> None:
            self._look(account)

        name, gateway = account.reference, self._gateway
        if account.unwanted:
            if seen.status in ("authorised", "requires-action"):
                gateway.void(gateway.payment_of(name), f"{name}:void", look)
            elif seen.status == "captured" and seen.refunded < seen.amount:
                key = f"{name}:all:{len(seen.refunds)}"
                gateway.refund(gateway.payment_of(name), seen.amount - seen.refunded, key, look)
            else:
                return False
            return True
        if seen.status == "nothing" and account.asked is not None:
            return self._holds(account, account.asked)
        if seen.status == "authorised" and account.capture and not seen.capture_failed:
            gateway.capture(gateway.payment_of(name), f"{name}:capture", look)
            return True
        for refund_id, amount in account.refunds.items():
            if str(refund_id) not in seen.refunds and str(refund_id) not in seen.refused:
                gateway.refund(gateway.payment_of(name), amount, str(refund_id), look)
                return True
        return False

    def _holds(self, account: Account, asked: AuthorisePayment) -> bool:
        """Ask for the money with the order's key; with its next one where a failure is kept for that. After some time
        of silence only the webhook, or the order's own time-out, goes on."""
        account.tries += 1
        if account.tries > _TRIES:
            return False

        def answered(key_is_spent: bool) -> None:
            account.keys_spent += key_is_spent
            self._look(account)

        key = f"{account.reference}:{1 + account.keys_spent}"
        self._gateway.authorise(account.reference, asked.amount.amount, asked.payment_method, key, answered)
        return True

    # --- what is said -------------------------------------------------------------------------------------------------

    def _facts(self, account: Account, seen: Money) -> list[Said]:
        """What is known now and was not said yet."""
        order_id = account.order_id
        total = Amount(amount=seen.amount, currency="EUR")
        facts: dict[object, Said] = {}
        if seen.status == "requires-action":
            facts["requires-action"] = PaymentRequiresAction(order_id=order_id)
        if seen.status in ("authorised", "captured"):
            facts["authorised"] = PaymentAuthorised(order_id=order_id, amount=total)
        if seen.status == "declined":
            facts["declined"] = PaymentDeclined(order_id=order_id, code="card_declined")
        if seen.status == "captured":
            facts["captured"] = PaymentCaptured(order_id=order_id, amount=total)
        if seen.capture_failed:
            facts["capture-failed"] = CaptureFailed(order_id=order_id, code="capture_failed")
        facts |= self._refund_facts(account, seen)
        if account.unwanted and seen.status != "captured":
            facts["voided"] = PaymentVoided(order_id=order_id)
        new = {name: fact for name, fact in facts.items() if name not in account.said}
        account.said |= set(new)
        return list(new.values())

    def _refund_facts(self, account: Account, seen: Money) -> dict[object, Said]:
        facts: dict[object, Said] = {}
        sum_ = 0
        for key, amount in seen.refunds.items():
            sum_ += amount
            facts["refunded", key] = PaymentRefunded(
                order_id=account.order_id,
                refund_id=None if ":all:" in key else UUID(key),
                amount=Amount(amount=amount, currency="EUR"),
                refunded=Amount(amount=sum_, currency="EUR"),
            )
        for key in sorted(seen.refused):
            if ":all:" not in key:
                facts["refused", key] = RefundFailed(order_id=account.order_id, refund_id=UUID(key), code="refused")
        return facts
