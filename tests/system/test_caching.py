"""What an edge keeps of the catalogue is never older than what its client knows."""

import asyncio

import httpx
import pytest

from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform, end

pytestmark = pytest.mark.servers


async def test_who_changes_a_product_sees_the_change_at_once(staff: Customer) -> None:
    sku = await staff.add_product(on_hand=5, cents=1000)
    for cents in range(1001, 1011):
        assert (await staff.get(f"/products/{sku}"))["price"]["amount"] == cents - 1
        price = {"price": {"amount": cents, "currency": "EUR"}}
        assert (await staff.http.patch(f"/products/{sku}", json=price)).is_success
    for available in range(6, 16):
        await staff.post(f"/products/{sku}/stock-movements", {"delta": 1, "reason": "found"})
        product = await staff.get(f"/products/{sku}")
        assert (product["price"]["amount"], product["available"]) == (1010, available)


async def test_another_edge_follows_within_a_second(platform: Platform, staff: Customer, customer: Customer) -> None:
    sku = await staff.add_product(on_hand=5)
    process, address = platform.start_edge()
    try:
        async with httpx.AsyncClient(base_url=address, trust_env=False) as other:
            await eventually(lambda: is_available(other, sku, 5), within=20)
            order = await customer.settled(await customer.order(sku, 2))
            assert order["status"] == "confirmed"
            await eventually(lambda: is_available(other, sku, 3), within=1)
            cancelled = await staff.http.post(f"/orders/{order['id']}/cancellation")
            assert cancelled.status_code == 202
            await eventually(lambda: is_available(other, sku, 5), within=10)
    finally:
        await asyncio.to_thread(end, process)


async def is_available(http: httpx.AsyncClient, sku: str, available: int) -> bool:
    try:
        response = await http.get(f"/products/{sku}")
    except httpx.TransportError:
        return False
    return response.status_code == 200 and response.json()["available"] == available
