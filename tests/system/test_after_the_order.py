"""What can happen to an order besides being confirmed at once: the bank asks, it is called off, it ships, money goes
back. The gateway's ledger is the truth about money."""

from typing import Any

import httpx

from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform
from tests.system.test_an_order import captures, has_stock


async def confirmed(customer: Customer, sku: str, quantity: int) -> dict[str, Any]:
    order = await customer.settled(await customer.order(sku, quantity))
    assert order["status"] == "confirmed"
    return order


async def becomes(customer: Customer, order: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """Wait until these fields of the order are so; `payment` is its status."""

    async def look() -> dict[str, Any]:
        seen = dict(await customer.get(f"/orders/{order['id']}"))
        found = {name: seen["payment"]["status"] if name == "payment" else seen[name] for name in wanted}
        assert found == wanted
        return seen

    return await eventually(look, within=10)


def moved(platform: Platform, order: dict[str, Any], kind: str) -> int:
    """How much money moved so for the order, in cents."""
    entries = [entry for entry in platform.ledger() if (entry["reference"], entry["kind"]) == (order["id"], kind)]
    return sum(entry["amount"] for entry in entries)


async def test_a_bank_that_asks_the_customer_is_answered_and_the_order_is_confirmed(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=5)
    placed = await customer.order(sku, 2, "pm_card_authenticationRequired")
    order = await becomes(customer, placed, status="awaiting-customer", payment="requires-action")
    async with httpx.AsyncClient(trust_env=False) as browser:
        page = order["payment"]["next_action"]["redirect_to_url"]["url"]
        assert (await browser.get(f"{page}?outcome=succeeded")).is_success
    order = await becomes(customer, placed, status="confirmed", payment="captured")
    assert [step["status"] for step in order["history"]][-3:] == ["awaiting-customer", "authorised", "confirmed"]
    assert captures(platform, order["id"]) == [(2000, "EUR")]


async def test_a_bank_that_is_not_answered_well_declines(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=5)
    placed = await customer.order(sku, 2, "pm_card_authenticationRequired")
    order = await becomes(customer, placed, status="awaiting-customer")
    async with httpx.AsyncClient(trust_env=False) as browser:
        await browser.get(f"{order['payment']['next_action']['redirect_to_url']['url']}?outcome=failed")
    order = await becomes(customer, placed, status="rejected", payment="declined")
    assert order["reason"] == "payment-declined"
    await eventually(lambda: has_stock(staff, sku, on_hand=5, reserved=0, available=5))
    assert captures(platform, order["id"]) == []


async def test_a_confirmed_order_that_is_called_off_gives_back_money_and_goods(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=5)
    order = await confirmed(customer, sku, 2)
    assert (await customer.http.post(f"/orders/{order['id']}/cancellation")).status_code == 202
    await becomes(customer, order, status="cancelled", payment="refunded")
    await eventually(lambda: has_stock(staff, sku, on_hand=5, reserved=0, available=5))
    assert (moved(platform, order, "captured"), moved(platform, order, "refunded")) == (2000, 2000)
    again = await customer.http.post(f"/orders/{order['id']}/cancellation")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/not-cancellable")


async def test_an_order_ships_in_parcels_arrives_and_comes_back_in_part(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=5)
    order = await confirmed(customer, sku, 3)
    parcels = f"/orders/{order['id']}/shipments"
    await staff.post(parcels, {"lines": [{"sku": sku, "quantity": 1}], "carrier": "DHL", "tracking": "1"})
    await becomes(customer, order, status="confirmed")
    await staff.post(parcels, {"carrier": "DHL", "tracking": "2"})
    await becomes(customer, order, status="shipped")
    await staff.post(f"/orders/{order['id']}/deliveries", {})
    await becomes(customer, order, status="delivered")
    one = {"lines": [{"sku": sku, "quantity": 1}], "restock": True}
    refund = await staff.post(f"/orders/{order['id']}/refunds", one)
    assert (refund["amount"]["amount"], refund["status"]) == (1000, "pending")
    await becomes(customer, order, status="delivered", payment="partially-refunded")
    await eventually(lambda: has_stock(staff, sku, on_hand=3, reserved=0, available=3))
    await staff.post(f"/orders/{order['id']}/refunds", {"restock": False})
    await becomes(customer, order, status="refunded", payment="refunded")
    assert moved(platform, order, "refunded") == 3000
    above = await staff.http.post(f"/orders/{order['id']}/refunds", json={"restock": False})
    assert (above.status_code, above.json()["type"]) == (409, "/problems/refund-too-high")
    assert await staff.stock(sku) == {"on_hand": 3, "reserved": 0, "available": 3}
