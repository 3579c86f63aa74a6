"""The whole service, over a real broker, a real database and the real sandbox gateway."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio

from broker.ids import new_id
from contracts.base import Money
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentVoided,
    VoidPayment,
)
from tests.conftest import Start
from tests.support.eventually import eventually
from tests.support.harness import Harness
from tests.support.sandbox import KEY, Sandbox
from workers.payments.gateway import Gateway
from workers.payments.handlers import service
from workers.payments.sandbox import SandboxGateway
from workers.payments.tables import PaymentRow

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
PRICE = Money(amount=1999, currency="EUR")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def payments(sharing: Start, sandbox: Sandbox) -> AsyncIterator[Harness]:
    """One for all tests of this module: each has orders of its own."""
    gateway = SandboxGateway(sandbox.url, KEY, total=2.0)
    service.provide(gateway, as_type=Gateway)
    yield await sharing(service)
    await gateway.aclose()


def order(method: str = "pm_card_visa") -> AuthorisePayment:
    return AuthorisePayment(order_id=new_id(), amount=PRICE, payment_method=method)


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


async def test_a_card_that_asks_for_the_customer_is_declined(payments: Harness, sandbox: Sandbox) -> None:
    command = order("pm_card_authenticationRequired")
    await payments.send(command)
    assert (await payments.heard(PaymentDeclined, command.order_id)).code == "authentication_required"
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


async def test_a_capture_that_overtakes_its_authorisation_is_tried_again(payments: Harness, sandbox: Sandbox) -> None:
    command = order()
    await payments.send(CapturePayment(order_id=command.order_id))
    await payments.send(command)
    await payments.heard(PaymentCaptured, command.order_id, within=10)
    assert sandbox.kinds(str(command.order_id)) == ["authorised", "captured"]


async def test_money_held_after_a_void_is_let_go(payments: Harness, sandbox: Sandbox) -> None:
    command, another = order(), order()
    await payments.send(VoidPayment(order_id=command.order_id))
    await payments.heard(PaymentVoided, command.order_id)
    await payments.send(command)

    async def is_let_go() -> bool:
        return sandbox.kinds(str(command.order_id)) == ["authorised", "voided"]

    await eventually(is_let_go)
    await payments.send(another)
    assert (await payments.heard(PaymentAuthorised, command.order_id, another.order_id)).order_id == another.order_id
    assert (await row(payments, command.order_id)).status == "voided"
