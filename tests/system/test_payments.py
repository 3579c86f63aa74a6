"""Money through the whole platform: the customer at the bank, the gateway's webhooks, and what goes back."""

import json
import time
from typing import Any

import httpx
import pytest

from infra.sandbox_gateway.webhooks import signature
from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform

ASKS = "pm_card_authenticationRequired"


async def test_an_order_whose_bank_asks_is_confirmed_within_two_seconds_of_the_answer(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    order = await awaiting_customer(staff, customer)
    assert order["payment"]["client_secret"]
    await settle(order, "succeeded")
    assert (await customer.settled(order, within=2))["status"] == "confirmed"
    assert kinds(platform, order) == ["authorised", "captured"]


async def test_an_order_whose_customer_fails_at_the_bank_is_rejected(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    order = await awaiting_customer(staff, customer)
    await settle(order, "failed")
    seen = await customer.settled(order)
    assert (seen["status"], seen["reason"]) == ("rejected", "payment-declined")
    assert kinds(platform, order) == ["declined"]


async def test_an_order_that_is_cancelled_while_the_bank_asks_costs_nothing(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    order = await awaiting_customer(staff, customer)
    await customer.post(f"/orders/{order['id']}/cancellation", {})
    await eventually(lambda: has_payment(customer, order, "voided"))
    await settle(order, "succeeded")
    assert kinds(platform, order) == []


async def test_a_confirmed_order_that_is_cancelled_is_given_back_in_full(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=5)
    order = await customer.settled(await customer.order(sku, 2))
    await customer.post(f"/orders/{order['id']}/cancellation", {})
    await eventually(lambda: has_payment(customer, order, "refunded"))
    assert kinds(platform, order) == ["authorised", "captured", "refunded"]


async def test_a_confirmed_order_is_refunded_in_part_and_then_in_full(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=5, cents=1000)
    order = await customer.settled(await customer.order(sku, 2))
    part = {"amount": {"amount": 500, "currency": "EUR"}, "restock": False}
    await staff.post(f"/orders/{order['id']}/refunds", part)
    await eventually(lambda: has_payment(customer, order, "partially-refunded"))
    await staff.post(f"/orders/{order['id']}/refunds", {"restock": False})
    await eventually(lambda: has_payment(customer, order, "refunded"))
    assert (await customer.get(f"/orders/{order['id']}"))["status"] == "refunded"
    amounts = [entry["amount"] for entry in platform.ledger() if entry["reference"] == order["id"]]
    assert amounts == [2000, 2000, 500, 1500]


@pytest.mark.parametrize(
    "script",
    [
        {"everything": True, "copies": 2},
        {"everything": True, "before_the_answer": True},
        {"everything": True, "hold": True},
        {"everything": True, "delay": 1.0, "newest_first": True},
        {"copies": 0},
    ],
    ids=["twice", "before the answer", "never, then all at once", "late and the newest first", "never"],
)
async def test_however_webhooks_come_an_order_is_paid_once(
    platform: Platform, staff: Customer, customer: Customer, script: dict[str, Any]
) -> None:
    platform.script_webhooks(**script)
    try:
        usual = await customer.order(await staff.add_product(on_hand=5))
        asking = await awaiting_customer(staff, customer)
        await settle(asking, "succeeded")
        for order in (usual, asking):
            assert (await customer.settled(order, within=20))["status"] == "confirmed"
    finally:
        platform.script_webhooks()
    last = await awaiting_customer(staff, customer)
    await settle(last, "succeeded")  # its webhook comes after all that were held
    await customer.settled(last)
    for order in (usual, asking):
        assert (await customer.get(f"/orders/{order['id']}"))["status"] == "confirmed"
        assert kinds(platform, order) == ["authorised", "captured"]


async def test_only_the_gateway_is_heard_at_the_webhooks_door(platform: Platform, customer: Customer) -> None:
    body = json.dumps(
        {"id": "evt_forged", "type": "payment.captured", "data": {"reference": "x", "status": "captured"}}
    )
    secret, headers = platform.state.secret("gateway.webhooks"), {"content-type": "application/json"}
    for signed in ("", "t=1,v1=00", signature(body, "whsec_guessed"), signature(body, secret, at=time.time() - 301)):
        answer = await customer.http.post(
            "/gateway-webhooks/sandbox", content=body, headers={**headers, "Stripe-Signature": signed}
        )
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/bad-signature")
    good = {**headers, "Stripe-Signature": signature(body, secret)}
    assert (await customer.http.post("/gateway-webhooks/stripe", content=body, headers=good)).status_code == 400
    assert (await customer.http.post("/gateway-webhooks/sandbox", content=body, headers=good)).status_code == 204


async def awaiting_customer(staff: Customer, customer: Customer) -> dict[str, Any]:
    """A new order that waits for its customer."""
    order = await customer.order(await staff.add_product(on_hand=5), card=ASKS)

    async def look() -> dict[str, Any]:
        seen = dict(await customer.get(f"/orders/{order['id']}"))
        assert seen["status"] == "awaiting-customer"
        return seen

    return await eventually(look, within=5)


async def settle(order: dict[str, Any], outcome: str) -> None:
    """What the customer does at the bank."""
    async with httpx.AsyncClient(trust_env=False) as browser:
        url = order["payment"]["next_action"]["redirect_to_url"]["url"]
        (await browser.post(url, params={"outcome": outcome})).raise_for_status()


async def has_payment(customer: Customer, order: dict[str, Any], status: str) -> bool:
    """Whether the order's payment is like this."""
    return bool((await customer.get(f"/orders/{order['id']}"))["payment"]["status"] == status)


def kinds(platform: Platform, order: dict[str, Any]) -> list[str]:
    """What happened to the money of an order."""
    return [entry["kind"] for entry in platform.ledger() if entry["reference"] == order["id"]]
