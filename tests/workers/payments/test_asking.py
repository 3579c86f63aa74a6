"""What is asked of the gateway, against the real sandbox: one effect, whatever goes wrong and however often it runs."""

import asyncio
from uuid import UUID

import pytest

from broker.ids import new_id
from broker.injection import Attempt
from contracts.base import Money
from contracts.payments import AuthorisePayment, CapturePayment, VoidPayment
from tests.support.sandbox import Sandbox
from workers.payments.asking import LAST_ATTEMPT, hold_money, let_go, take_money
from workers.payments.gateway import GatewayUnknown, Outcome
from workers.payments.rules import TooEarly
from workers.payments.sandbox import SandboxGateway

pytestmark = pytest.mark.servers


def order(method: str = "pm_card_visa") -> AuthorisePayment:
    return AuthorisePayment(order_id=new_id(), amount=Money(amount=1999, currency="EUR"), payment_method=method)


async def hold(command: AuthorisePayment, gateway: SandboxGateway, attempt: int = 1) -> Outcome:
    return await hold_money(command, gateway, Attempt(attempt))


async def take(order_id: UUID, gateway: SandboxGateway, attempt: int = 1) -> Outcome:
    return await take_money(CapturePayment(order_id=order_id), gateway, Attempt(attempt))


async def release(order_id: UUID, gateway: SandboxGateway) -> Outcome:
    return await let_go(VoidPayment(order_id=order_id), gateway)


async def test_asked_again_it_holds_once(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    command = order()
    first = await hold(command, gateway)
    assert first.status == "authorised"
    assert [await hold(command, gateway, attempt) for attempt in (1, 2, LAST_ATTEMPT)] == [first] * 3
    assert sandbox.kinds(str(command.order_id)) == ["authorised"]


async def test_asked_many_times_at_once_it_holds_once(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    command = order("pm_sandbox_error_once")
    for _ in range(3):
        await asyncio.gather(*(hold(command, gateway) for _ in range(5)), return_exceptions=True)
    assert (await hold(command, gateway)).status == "authorised"
    assert sandbox.kinds(str(command.order_id)) == ["authorised"]


async def test_money_held_by_a_lost_answer_is_found_by_the_next_attempt(
    sandbox: Sandbox, hasty_gateway: SandboxGateway
) -> None:
    command = order("pm_sandbox_timeout_after")
    with pytest.raises(GatewayUnknown):
        await hold(command, hasty_gateway)
    assert (await hold(command, hasty_gateway, 2)).status == "authorised"
    assert sandbox.kinds(str(command.order_id)) == ["authorised"]


async def test_a_kept_failure_is_passed_by_with_the_next_key(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    command = order("pm_sandbox_error_once")
    with pytest.raises(GatewayUnknown):
        await hold(command, gateway)
    assert (await hold(command, gateway, 2)).status == "authorised"
    assert (await hold(command, gateway, 1)).status == "authorised"
    assert sandbox.kinds(str(command.order_id)) == ["authorised"]


async def test_the_last_attempt_only_looks(sandbox: Sandbox, hasty_gateway: SandboxGateway) -> None:
    command = order("pm_sandbox_timeout_before")
    for attempt in range(1, LAST_ATTEMPT):
        with pytest.raises(GatewayUnknown):
            await hold(command, hasty_gateway, attempt)
    assert (await hold(command, hasty_gateway, LAST_ATTEMPT)).status == "nothing"
    assert sandbox.kinds(str(command.order_id)) == []


async def test_a_card_that_asks_for_the_customer_is_given_up(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    command = order("pm_card_authenticationRequired")
    for attempt in (1, 1, 2):
        outcome = await hold(command, gateway, attempt)
        assert (outcome.status, outcome.code) == ("voided", "authentication_required")
    assert sandbox.kinds(str(command.order_id)) == []


async def test_money_is_taken_once(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    command = order()
    await hold(command, gateway)
    for _ in range(2):
        assert (await take(command.order_id, gateway)).status == "captured"
    assert sandbox.kinds(str(command.order_id)) == ["authorised", "captured"]


async def test_money_is_let_go_once(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    command = order()
    await hold(command, gateway)
    for _ in range(2):
        assert (await release(command.order_id, gateway)).status == "voided"
    assert sandbox.kinds(str(command.order_id)) == ["authorised", "voided"]


async def test_what_can_not_be_taken_can_be_let_go(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    command = order("pm_sandbox_capture_fails")
    await hold(command, gateway)
    refused = await take(command.order_id, gateway)
    assert (refused.status, refused.code) == ("authorised", "capture_failed")
    assert (await release(command.order_id, gateway)).status == "voided"
    assert sandbox.kinds(str(command.order_id)) == ["authorised", "voided"]


async def test_taken_and_let_go_at_once_only_one_comes_true(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    command = order()
    await hold(command, gateway)
    taken, released = await asyncio.gather(take(command.order_id, gateway), release(command.order_id, gateway))
    assert taken.status == released.status
    assert sandbox.kinds(str(command.order_id)) == ["authorised", taken.status]


async def test_without_a_payment_it_is_too_early_to_take_it(gateway: SandboxGateway) -> None:
    with pytest.raises(TooEarly):
        await take(new_id(), gateway)


async def test_without_a_payment_there_is_at_last_nothing_to_take_or_let_go(gateway: SandboxGateway) -> None:
    assert await take(new_id(), gateway, LAST_ATTEMPT) == Outcome()
    assert await release(new_id(), gateway) == Outcome()
