"""The adapter against the real sandbox gateway: what only this one can show; for the rest, see test_gateways.py."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.base import Money
from tests.support.sandbox import KEY, Sandbox, running_sandbox
from workers.payments.gateway import GatewayRefusal, GatewayUnknown, KeySpent, Outcome
from workers.payments.sandbox import SandboxGateway

pytestmark = pytest.mark.servers

REFUND = uuid4()
PRICE = Money(amount=1999, currency="EUR")


async def hold(gateway: SandboxGateway, method: str, reference: str | None = None, key: str | None = None) -> Outcome:
    reference = reference or uuid4().hex
    return await gateway.authorise(reference, PRICE, method, key=key or f"{reference}:authorise")


async def test_no_more_goes_back_than_was_captured(gateway: SandboxGateway) -> None:
    held = await hold(gateway, "pm_card_visa")
    await gateway.capture(held.gateway_id, key=uuid4().hex)
    part = await gateway.refund(held.gateway_id, 500, first := uuid4(), key=uuid4().hex)
    refused = await gateway.refund(held.gateway_id, 1500, uuid4(), key=uuid4().hex)
    assert (part.code, refused.code, refused.refunds) == (None, "refund_exceeds_captured", frozenset({first}))


async def test_asked_twice_with_one_key_there_is_one_effect(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    held = [await hold(gateway, "pm_card_visa", "order-2", key="order-2:authorise") for _ in range(2)]
    taken = [await gateway.capture(held[0].gateway_id, key="order-2:capture") for _ in range(2)]
    back = [await gateway.refund(held[0].gateway_id, 500, REFUND, key="order-2:refund") for _ in range(2)]
    assert [first == second for first, second in (held, taken, back)] == [True] * 3
    assert sandbox.kinds("order-2") == ["authorised", "captured", "refunded"]


async def test_a_bank_may_not_take_money_back(gateway: SandboxGateway) -> None:
    held = await hold(gateway, "pm_card_refundFail")
    await gateway.capture(held.gateway_id, key=uuid4().hex)
    refused = await gateway.refund(held.gateway_id, 500, uuid4(), key=uuid4().hex)
    assert (refused.status, refused.code, refused.refunds) == ("captured", "refund_failed", frozenset())


async def test_a_slow_gateway_is_waited_for(gateway: SandboxGateway) -> None:
    assert (await hold(gateway, "pm_sandbox_slow")).status == "authorised"


async def test_a_refused_capture_leaves_the_payment_as_it_was_with_a_code(gateway: SandboxGateway) -> None:
    held = await hold(gateway, "pm_sandbox_capture_fails")
    refused = await gateway.capture(held.gateway_id, key=uuid4().hex)
    assert (refused.status, refused.code) == ("authorised", "capture_failed")


@pytest.mark.parametrize("method", ["pm_sandbox_timeout_before", "pm_sandbox_timeout_after"])
async def test_silence_is_an_unknown_outcome(hasty_gateway: SandboxGateway, method: str) -> None:
    with pytest.raises(GatewayUnknown):
        await hold(hasty_gateway, method)


async def test_a_fresh_failure_is_unknown_and_a_replayed_one_spends_the_key(gateway: SandboxGateway) -> None:
    with pytest.raises(GatewayUnknown) as fresh:
        await hold(gateway, "pm_sandbox_error_once", "order-4")
    assert not isinstance(fresh.value, KeySpent)
    with pytest.raises(KeySpent):
        await hold(gateway, "pm_sandbox_error_once", "order-4")


async def test_a_request_that_is_still_in_progress_is_unknown(sandbox: Sandbox, gateway: SandboxGateway) -> None:
    first, second = await asyncio.gather(
        hold(gateway, "pm_sandbox_slow", "order-5"),
        hold(gateway, "pm_sandbox_slow", "order-5"),
        return_exceptions=True,
    )
    assert {type(first), type(second)} == {Outcome, GatewayUnknown}
    assert sandbox.kinds("order-5") == ["authorised"]


async def test_what_the_gateway_does_not_understand_is_a_defect(gateway: SandboxGateway) -> None:
    await hold(gateway, "pm_card_visa", "order-7")
    with pytest.raises(GatewayRefusal, match="idempotency"):
        await gateway.authorise("order-7", Money(amount=1, currency="EUR"), "pm_card_visa", key="order-7:authorise")


async def test_after_the_gateway_was_killed_the_same_key_gives_the_same_payment(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        gateway = SandboxGateway(sandbox.url, KEY)
        held = await hold(gateway, "pm_card_visa", "order-8")
        sandbox.kill()
        await asyncio.to_thread(sandbox.start)  # meanwhile the loop sees that its connections are gone
        assert await hold(gateway, "pm_card_visa", "order-8") == held
        assert sandbox.kinds("order-8") == ["authorised"]
        await gateway.aclose()
