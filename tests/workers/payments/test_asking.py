"""What is asked of the gateway, against the real sandbox: one effect, whatever goes wrong and however often it runs."""

import asyncio

import pytest

from broker.ids import new_id
from contracts.base import Money
from contracts.payments import AuthorisePayment, CapturePayment, RefundPayment, VoidPayment
from tests.support.sandbox import Sandbox
from workers.payments.asking import Steps, pursue
from workers.payments.gateway import Outcome
from workers.payments.rules import Authorise, Capture, Command, GiveBack, Look, Payment, Step, Void, learn, want
from workers.payments.sandbox import SandboxGateway

pytestmark = pytest.mark.servers


class Asker:
    """What we know of one payment, and what we ask about it."""

    def __init__(self, gateway: SandboxGateway, method: str = "pm_card_visa") -> None:
        self.gateway = gateway
        self.order_id = new_id()
        price = Money(amount=1999, currency="EUR")
        asked = AuthorisePayment(order_id=self.order_id, amount=price, payment_method=method)
        self.payment = want(Payment(order_id=self.order_id), asked)

    async def pursue(self, command: Command | None = None, *, look: bool = False) -> Steps:
        """Pursue what is known (and wanted), and learn from it."""
        if command is not None:
            self.payment = want(self.payment, command)
        steps = await pursue(self.gateway, self.payment, look=look)
        for step in steps:
            self.payment = learn(self.payment, step)
        return steps

    async def capture(self) -> Steps:
        return await self.pursue(CapturePayment(order_id=self.order_id))

    async def void(self) -> Steps:
        return await self.pursue(VoidPayment(order_id=self.order_id))

    async def refund(self, cents: int) -> Steps:
        amount = Money(amount=cents, currency="EUR")
        return await self.pursue(RefundPayment(order_id=self.order_id, refund_id=new_id(), amount=amount))


def acts(steps: Steps) -> list[type]:
    return [type(step.act) for step in steps]


async def test_the_usual_order_asks_twice(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    asker = Asker(gateway)
    assert acts(await asker.pursue()) == [Authorise]
    assert acts(await asker.capture()) == [Capture]
    assert asker.payment.status == "captured"
    assert sandbox.kinds(str(asker.order_id)) == ["authorised", "captured"]


async def test_asked_many_times_at_once_it_holds_once(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    asker = Asker(gateway, "pm_sandbox_error_once")
    for _ in range(3):
        await asyncio.gather(*(pursue(gateway, asker.payment, look=False) for _ in range(5)))
    await asker.pursue(look=True)
    assert asker.payment.status == "authorised"
    assert sandbox.kinds(str(asker.order_id)) == ["authorised"]


async def test_money_held_by_a_lost_answer_is_found_by_looking(sandbox: Sandbox, hasty_gateway: SandboxGateway) -> None:
    asker = Asker(hasty_gateway, "pm_sandbox_timeout_after")
    assert await asker.pursue() == (Step(Authorise(), None),)
    assert acts(await asker.pursue(look=True)) == [Look]
    assert asker.payment.status == "authorised"
    assert sandbox.kinds(str(asker.order_id)) == ["authorised"]


async def test_a_kept_failure_is_passed_by_with_the_next_key(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    asker = Asker(gateway, "pm_sandbox_error_once")
    assert await asker.pursue() == (Step(Authorise(), None),)
    assert acts(await asker.pursue(look=True)) == [Look, Authorise]
    assert asker.payment.status == "authorised"
    assert sandbox.kinds(str(asker.order_id)) == ["authorised"]


async def test_a_gateway_without_effect_stays_unknown(sandbox: Sandbox, hasty_gateway: SandboxGateway) -> None:
    asker = Asker(hasty_gateway, "pm_sandbox_timeout_before")
    await asker.pursue()
    assert acts(await asker.pursue(look=True)) == [Look, Authorise]
    assert asker.payment.status == "unknown"
    assert sandbox.kinds(str(asker.order_id)) == []


async def test_money_is_let_go_once(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    asker = Asker(gateway)
    await asker.pursue()
    asker.payment = want(asker.payment, VoidPayment(order_id=asker.order_id))
    both = await asyncio.gather(*(pursue(gateway, asker.payment, look=False) for _ in range(2)))
    assert {step.outcome.status for steps in both for step in steps if step.outcome} == {"voided"}
    assert sandbox.kinds(str(asker.order_id)) == ["authorised", "voided"]


async def test_what_waits_for_the_customer_is_called_off(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    asker = Asker(gateway, "pm_card_authenticationRequired")
    await asker.pursue()
    assert acts(await asker.void()) == [Void]
    assert (asker.payment.status, asker.payment.client_secret) == ("voided", None)
    assert sandbox.kinds(str(asker.order_id)) == []


async def test_what_can_not_be_taken_can_be_let_go(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    asker = Asker(gateway, "pm_sandbox_capture_fails")
    await asker.pursue()
    await asker.capture()
    assert (asker.payment.status, asker.payment.code) == ("failed", "capture_failed")
    await asker.void()
    assert sandbox.kinds(str(asker.order_id)) == ["authorised", "voided"]


async def test_taken_and_let_go_at_once_nothing_is_kept(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    asker = Asker(gateway)
    await asker.pursue()
    taking = want(asker.payment, CapturePayment(order_id=asker.order_id))
    await asyncio.gather(pursue(gateway, taking, look=False), asker.void())
    await asker.pursue(look=True)
    assert sandbox.kinds(str(asker.order_id)) in (
        ["authorised", "voided"],
        ["authorised", "captured", "refunded"],
    )


async def test_what_is_captured_for_nothing_is_found_and_given_back_in_one_go(
    sandbox: Sandbox, gateway: SandboxGateway
) -> None:
    asker = Asker(gateway)
    await asker.pursue()
    await pursue(gateway, want(asker.payment, CapturePayment(order_id=asker.order_id)), look=False)
    assert acts(await asker.void()) == [Void, GiveBack]
    assert (asker.payment.captured, asker.payment.refunded) == (1999, 1999)
    assert sandbox.kinds(str(asker.order_id)) == ["authorised", "captured", "refunded"]


async def test_refunds_go_back_one_by_one_and_never_more_than_was_captured(
    sandbox: Sandbox, gateway: SandboxGateway
) -> None:
    asker = Asker(gateway)
    await asker.pursue()
    await asker.capture()
    for cents in (500, 1499, 1):
        assert acts(await asker.refund(cents)) == [GiveBack]
    assert [refund.status for refund in asker.payment.refunds] == ["refunded", "refunded", "failed"]
    assert asker.payment.refunds[-1].code == "refund_exceeds_captured"
    entries = [entry["amount"] for entry in sandbox.entries(str(asker.order_id)) if entry["kind"] == "refunded"]
    assert entries == [500, 1499]


async def test_a_refund_asked_twice_at_once_goes_back_once(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    asker = Asker(gateway)
    await asker.pursue()
    await asker.capture()
    amount = Money(amount=100, currency="EUR")
    asker.payment = want(asker.payment, RefundPayment(order_id=asker.order_id, refund_id=new_id(), amount=amount))
    await asyncio.gather(*(pursue(gateway, asker.payment, look=False) for _ in range(3)))
    await asker.pursue(look=True)
    assert asker.payment.refunds[0].status == "refunded"
    assert sandbox.kinds(str(asker.order_id)).count("refunded") == 1


async def test_without_a_payment_there_is_nothing_to_see(gateway: SandboxGateway) -> None:
    payment = want(Payment(order_id=(order_id := new_id())), VoidPayment(order_id=order_id))
    assert await pursue(gateway, payment, look=True) == (Step(Look(), Outcome()),)
