"""The whole service, over a real broker, a real database and the real sandbox gateway."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import update
from sqlmodel import col

from broker.ids import new_id
from broker.outbox import Origin
from contracts.base import Money, Refusal
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    CapturePayment,
    GetPaymentAction,
    PaymentAction,
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
from tests.conftest import Start
from tests.support.counting import Counting
from tests.support.eventually import eventually
from tests.support.harness import Harness
from tests.support.sandbox import KEY, Sandbox
from workers.payments.asking import pursue
from workers.payments.gateway import Gateway
from workers.payments.handlers import record_what_became_of_it, service
from workers.payments.rules import Patience, Payment, want
from workers.payments.sandbox import SandboxGateway
from workers.payments.tables import PaymentRow

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
PRICE = Money(amount=1999, currency="EUR")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def payments(sharing: Start, sandbox: Sandbox) -> AsyncIterator[Harness]:
    """One for all tests of this module: each has orders of its own."""
    gateway = SandboxGateway(sandbox.url, KEY, total=2.0)
    service.provide(gateway, as_type=Gateway)
    service.provide(Patience())
    yield await sharing(service)
    await gateway.aclose()


def order(method: str = "pm_card_visa") -> AuthorisePayment:
    return AuthorisePayment(order_id=new_id(), amount=PRICE, payment_method=method)


def refund_of(order_id: UUID, cents: int) -> RefundPayment:
    return RefundPayment(order_id=order_id, refund_id=new_id(), amount=Money(amount=cents, currency="EUR"))


async def captured(payments: Harness) -> UUID:
    """A new order whose money is taken."""
    command = order()
    await payments.send(command)
    await payments.heard(PaymentAuthorised, command.order_id)
    await payments.send(CapturePayment(order_id=command.order_id))
    await payments.heard(PaymentCaptured, command.order_id)
    return command.order_id


async def action_of(payments: Harness, order_id: UUID) -> PaymentAction | Refusal:
    """What the customer has to do."""
    return await payments.ask(GetPaymentAction(order_id=order_id))


async def row(payments: Harness, order_id: UUID) -> PaymentRow:
    async with payments.session() as db:
        found = await db.get(PaymentRow, order_id)
        assert found is not None
        return found


async def test_money_is_held_and_taken(payments: Harness, sandbox: Sandbox) -> None:
    command = order()
    await payments.send(command)
    said = await payments.heard(PaymentAuthorised, command.order_id)
    assert said == PaymentAuthorised(order_id=command.order_id, amount=PRICE)
    await payments.send(CapturePayment(order_id=command.order_id))
    assert await payments.heard(PaymentCaptured, command.order_id) == PaymentCaptured(
        order_id=command.order_id, amount=PRICE
    )
    assert sandbox.kinds(str(command.order_id)) == ["authorised", "captured"]
    assert (await row(payments, command.order_id)).status == "captured"


async def test_a_declined_card_is_said_with_its_code(payments: Harness) -> None:
    command = order("pm_card_visa_chargeDeclined")
    await payments.send(command)
    said = await payments.heard(PaymentDeclined, command.order_id)
    assert said == PaymentDeclined(order_id=command.order_id, code="card_declined")


@pytest.mark.parametrize(("outcome", "said"), [("succeeded", PaymentAuthorised), ("failed", PaymentDeclined)])
async def test_a_customer_is_asked_and_the_answer_is_said(
    payments: Harness, outcome: str, said: type[PaymentAuthorised | PaymentDeclined]
) -> None:
    command = order("pm_card_authenticationRequired")
    await payments.send(command)
    await payments.heard(PaymentRequiresAction, command.order_id)
    action = await action_of(payments, command.order_id)
    assert isinstance(action, PaymentAction)
    assert action.client_secret is not None
    assert action.next_action is not None
    assert action.next_action.redirect_to_url is not None
    async with httpx.AsyncClient(trust_env=False) as browser:
        page = action.next_action.redirect_to_url.url
        assert (await browser.post(page, params={"outcome": outcome})).is_success
    await payments.heard(said, command.order_id)
    assert isinstance(await action_of(payments, command.order_id), Refusal)
    assert not [seen for seen in payments.seen if action.client_secret.encode() in seen.body]


async def test_who_does_not_wait_for_the_customer_has_nothing_for_him_to_do(payments: Harness) -> None:
    refusal = await action_of(payments, new_id())
    assert isinstance(refusal, Refusal)
    assert refusal.slug == "no-action-required"


async def test_a_copy_that_comes_when_all_is_over_holds_nothing(payments: Harness, sandbox: Sandbox) -> None:
    command = order("pm_sandbox_error_once")
    await payments.send(VoidPayment(order_id=command.order_id))
    await payments.heard(PaymentVoided, command.order_id)
    headers = await payments.send(command)
    suppressed = Counting("hedgerow_inbox_duplicates_total", queue=AuthorisePayment.topic)

    async def are_suppressed() -> bool:
        return suppressed.more == 2

    for _ in range(2):
        await payments.send(command, headers=headers)
    await eventually(are_suppressed)
    assert sandbox.kinds(str(command.order_id)) == []


async def test_what_can_not_be_taken_is_said_and_let_go(payments: Harness, sandbox: Sandbox) -> None:
    command = order("pm_sandbox_capture_fails")
    await payments.send(command)
    await payments.heard(PaymentAuthorised, command.order_id)
    await payments.send(CapturePayment(order_id=command.order_id))
    assert (await payments.heard(CaptureFailed, command.order_id)).code == "capture_failed"
    await payments.send(VoidPayment(order_id=command.order_id))
    await payments.heard(PaymentVoided, command.order_id)
    assert sandbox.kinds(str(command.order_id)) == ["authorised", "voided"]


async def test_what_waits_for_the_customer_is_called_off(payments: Harness, sandbox: Sandbox) -> None:
    command = order("pm_card_authenticationRequired")
    await payments.send(command)
    await payments.heard(PaymentRequiresAction, command.order_id)
    await payments.send(VoidPayment(order_id=command.order_id))
    await payments.heard(PaymentVoided, command.order_id)
    assert isinstance(await action_of(payments, command.order_id), Refusal)
    assert sandbox.kinds(str(command.order_id)) == []


async def test_money_goes_back_in_parts_and_a_refund_asked_twice_has_one_effect(
    payments: Harness, sandbox: Sandbox
) -> None:
    order_id = await captured(payments)
    refunds = [refund_of(order_id, 500), refund_of(order_id, 1499), refund_of(order_id, 1)]
    for refund, refunded in zip(refunds[:2], (500, 1999), strict=True):
        for _ in range(2):
            await payments.send(refund)
        assert await payments.heard(PaymentRefunded, order_id) == PaymentRefunded(
            order_id=order_id,
            refund_id=refund.refund_id,
            amount=refund.amount,
            refunded=Money(amount=refunded, currency="EUR"),
        )
    await payments.send(refunds[2])
    failed = await payments.heard(RefundFailed, order_id)
    assert (failed.refund_id, failed.code) == (refunds[2].refund_id, "refund_exceeds_captured")
    given_back = [entry["amount"] for entry in sandbox.entries(str(order_id)) if entry["kind"] == "refunded"]
    assert given_back == [500, 1499]


async def test_what_was_captured_for_nothing_goes_back_without_a_refund_id(payments: Harness, sandbox: Sandbox) -> None:
    order_id = await captured(payments)
    await payments.send(refund_of(order_id, 500))
    await payments.heard(PaymentRefunded, order_id)
    await payments.send(VoidPayment(order_id=order_id))
    assert await payments.heard(PaymentRefunded, order_id) == PaymentRefunded(
        order_id=order_id, amount=Money(amount=1499, currency="EUR"), refunded=PRICE
    )
    assert sandbox.kinds(str(order_id)) == ["authorised", "captured", "refunded", "refunded"]


async def test_a_duty_to_pay_nothing_lasts_while_the_outcome_is_unknown(payments: Harness, sandbox: Sandbox) -> None:
    command = order("pm_sandbox_timeout_before")
    await payments.send(command)

    async def is_unknown() -> bool:
        return (await row(payments, command.order_id)).status == "unknown"

    await eventually(is_unknown, within=10)
    await payments.send(VoidPayment(order_id=command.order_id))
    await payments.send(another := order())
    await payments.heard(PaymentAuthorised, another.order_id)

    async def is_a_duty() -> bool:
        found = await row(payments, command.order_id)
        return (found.goal, found.status, found.check_at is not None) == ("nothing", "unknown", True)

    await eventually(is_a_duty, within=10)
    long_ago = datetime.now(UTC) - timedelta(minutes=11)
    mine = col(PaymentRow.order_id) == command.order_id
    await payments.write(update(PaymentRow).where(mine).values(unknown_since=long_ago))
    await payments.heard(PaymentVoided, command.order_id, within=15)
    assert sandbox.kinds(str(command.order_id)) == []
    assert (await row(payments, command.order_id)).check_at is None


async def test_a_gateway_that_failed_is_asked_again(payments: Harness, sandbox: Sandbox) -> None:
    command = order("pm_sandbox_error_once")
    await payments.send(command)
    await payments.heard(PaymentAuthorised, command.order_id, within=10)
    assert sandbox.kinds(str(command.order_id)) == ["authorised"]


async def test_money_held_by_a_lost_answer_is_said_to_be_authorised(payments: Harness, sandbox: Sandbox) -> None:
    command = order("pm_sandbox_timeout_after")
    await payments.send(command)
    await payments.heard(PaymentAuthorised, command.order_id, within=15)
    assert sandbox.kinds(str(command.order_id)) == ["authorised"]


async def test_sent_twice_it_is_charged_and_said_once(payments: Harness, sandbox: Sandbox) -> None:
    command, another = order(), order()
    for _ in range(2):
        await payments.send(command)
    await payments.heard(PaymentAuthorised, command.order_id)
    for _ in range(2):
        await payments.send(CapturePayment(order_id=command.order_id))
    await payments.heard(PaymentCaptured, command.order_id)
    await payments.send(another)
    assert (await payments.heard(PaymentAuthorised, command.order_id, another.order_id)).order_id == another.order_id
    assert sandbox.kinds(str(command.order_id)) == ["authorised", "captured"]


async def test_a_capture_that_overtakes_its_authorisation_follows_it(payments: Harness, sandbox: Sandbox) -> None:
    command = order()
    await payments.send(CapturePayment(order_id=command.order_id))
    await payments.send(command)
    await payments.heard(PaymentCaptured, command.order_id, within=10)
    assert sandbox.kinds(str(command.order_id)) == ["authorised", "captured"]


async def test_money_held_after_a_void_is_let_go(payments: Harness, sandbox: Sandbox) -> None:
    command, another = order(), order()
    await payments.send(VoidPayment(order_id=command.order_id))
    await payments.heard(PaymentVoided, command.order_id)
    gateway = SandboxGateway(sandbox.url, KEY, total=2.0)
    as_read_before = want(Payment(order_id=command.order_id), command)
    steps = await pursue(gateway, as_read_before, look=False)
    await gateway.aclose()
    assert payments.service is not None
    assert payments.service.database is not None
    await payments.service.database.transact(
        Origin("test"), lambda tx: record_what_became_of_it(command, steps, tx, Patience())
    )

    async def is_let_go() -> bool:
        return sandbox.kinds(str(command.order_id)) == ["authorised", "voided"]

    await eventually(is_let_go)
    await payments.send(another)
    assert (await payments.heard(PaymentAuthorised, command.order_id, another.order_id)).order_id == another.order_id
    assert (await row(payments, command.order_id)).status == "voided"
