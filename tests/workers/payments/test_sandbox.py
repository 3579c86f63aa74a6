"""The adapter against the real sandbox gateway."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.base import Money
from tests.support.sandbox import KEY, Sandbox, running_sandbox
from workers.payments.gateway import GatewayRefusal, GatewayUnknown, KeySpent, Outcome
from workers.payments.sandbox import SandboxGateway

pytestmark = pytest.mark.servers

PRICE = Money(amount=1999, currency="EUR")


async def hold(gateway: SandboxGateway, method: str, reference: str | None = None, key: str | None = None) -> Outcome:
    reference = reference or uuid4().hex
    return await gateway.authorise(reference, PRICE, method, key=key or f"{reference}:authorise")


async def test_money_is_held_taken_and_found(gateway: SandboxGateway) -> None:
    held = await hold(gateway, "pm_card_visa", "order-1")
    assert (held.status, held.captured) == ("authorised", 0)
    taken = await gateway.capture(held.gateway_id, key="order-1:capture")
    assert (taken.status, taken.gateway_id, taken.captured) == ("captured", held.gateway_id, 1999)
    assert await gateway.find("order-1") == taken


async def test_money_is_let_go(gateway: SandboxGateway) -> None:
    held = await hold(gateway, "pm_card_visa", "order-2")
    assert (await gateway.void(held.gateway_id, key="order-2:void")).status == "voided"


async def test_money_is_given_back_in_parts_and_told_by_refund(gateway: SandboxGateway) -> None:
    held = await hold(gateway, "pm_card_visa")
    await gateway.capture(held.gateway_id, key=uuid4().hex)
    first, second = uuid4(), uuid4()
    part = await gateway.refund(held.gateway_id, 500, first, key=uuid4().hex)
    assert (part.status, part.captured, part.refunds) == ("captured", 1999, frozenset({first}))
    refused = await gateway.refund(held.gateway_id, 1500, second, key=uuid4().hex)
    assert (refused.code, refused.refunds) == ("refund_exceeds_captured", frozenset({first}))


async def test_a_bank_may_not_take_money_back(gateway: SandboxGateway) -> None:
    held = await hold(gateway, "pm_card_refundFail")
    await gateway.capture(held.gateway_id, key=uuid4().hex)
    refused = await gateway.refund(held.gateway_id, 500, uuid4(), key=uuid4().hex)
    assert (refused.status, refused.code, refused.refunds) == ("captured", "refund_failed", frozenset())


async def test_a_slow_gateway_is_waited_for(gateway: SandboxGateway) -> None:
    assert (await hold(gateway, "pm_sandbox_slow")).status == "authorised"


@pytest.mark.parametrize(
    ("method", "code"),
    [("pm_card_visa_chargeDeclined", "card_declined"), ("pm_of_nobody", "invalid_payment_method")],
)
async def test_a_decline_is_an_answer_with_its_code(gateway: SandboxGateway, method: str, code: str) -> None:
    declined = await hold(gateway, method)
    assert (declined.status, declined.code) == ("declined", code)


async def test_a_card_may_ask_for_the_customer(gateway: SandboxGateway) -> None:
    asked = await hold(gateway, "pm_card_authenticationRequired")
    assert (asked.status, asked.code) == ("requires_action", "authentication_required")
    assert asked.client_secret is not None
    assert asked.next_action is not None
    assert asked.next_action["type"] == "redirect_to_url"


async def test_a_refused_capture_leaves_the_payment_as_it_was_with_a_code(gateway: SandboxGateway) -> None:
    held = await hold(gateway, "pm_sandbox_capture_fails")
    refused = await gateway.capture(held.gateway_id, key=uuid4().hex)
    assert (refused.status, refused.code) == ("authorised", "capture_failed")


async def test_of_an_unknown_reference_the_gateway_has_nothing(gateway: SandboxGateway) -> None:
    assert await gateway.find("of-nobody") == Outcome()


async def test_of_several_payments_the_one_that_holds_money_is_found(gateway: SandboxGateway) -> None:
    held = await hold(gateway, "pm_card_visa", "order-3", key="one")
    await hold(gateway, "pm_card_visa_chargeDeclined", "order-3", key="two")
    assert await gateway.find("order-3") == held


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


async def test_a_gateway_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    gateway = SandboxGateway(Sandbox(tmp_path).url, KEY)
    with pytest.raises(GatewayUnknown):
        await gateway.find("order-6")
    await gateway.aclose()


async def test_what_the_gateway_does_not_understand_is_a_defect(gateway: SandboxGateway) -> None:
    await hold(gateway, "pm_card_visa", "order-7")
    with pytest.raises(GatewayRefusal, match="idempotency"):
        await gateway.authorise("order-7", Money(amount=1, currency="EUR"), "pm_card_visa", key="order-7:authorise")


@pytest.mark.parametrize("nonsense", [b"<html>", b"{}", b'{"id": "pay_1", "status": "eaten"}'])
async def test_nonsense_is_an_unknown_outcome(nonsense: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(nonsense) + nonsense)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        gateway = SandboxGateway(f"http://127.0.0.1:{port}", KEY)
        with pytest.raises(GatewayUnknown, match="errors in what the gateway says"):
            await hold(gateway, "pm_card_visa")
        await gateway.aclose()


async def test_after_the_gateway_was_killed_the_same_key_gives_the_same_payment(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        gateway = SandboxGateway(sandbox.url, KEY)
        held = await hold(gateway, "pm_card_visa", "order-8")
        sandbox.kill()
        await asyncio.to_thread(sandbox.start)  # meanwhile the loop sees that its connections are gone
        assert await hold(gateway, "pm_card_visa", "order-8") == held
        assert sandbox.kinds("order-8") == ["authorised"]
        await gateway.aclose()
