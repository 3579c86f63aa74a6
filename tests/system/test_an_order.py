"""An order, from the customer's request to the money in the gateway's ledger."""

import pytest

from tests.support.customer import Customer, visitor
from tests.support.eventually import eventually
from tests.support.platform import Platform


async def test_a_good_card_confirms_the_order_within_two_seconds(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=10, cents=1999)
    placed = await customer.order(sku, 3)
    assert (placed["status"], placed["total"]) == ("placed", {"amount": 5997, "currency": "EUR"})
    order = await customer.settled(placed, within=2)
    assert order["status"] == "confirmed"
    assert [step["status"] for step in order["history"]] == ["placed", "reserved", "authorised", "confirmed"]
    await eventually(lambda: has_stock(staff, sku, on_hand=7, reserved=0, available=7))
    assert captures(platform, order["id"]) == [(5997, "EUR")]


async def test_a_declined_card_rejects_the_order_and_gives_the_stock_back(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=5)
    order = await customer.settled(await customer.order(sku, 2, "pm_card_visa_chargeDeclined"))
    assert (order["status"], order["reason"]) == ("rejected", "payment-declined")
    await eventually(lambda: has_stock(staff, sku, on_hand=5, reserved=0, available=5))
    assert captures(platform, order["id"]) == []


async def test_more_than_there_is_rejects_the_order_and_asks_no_money(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=2)
    order = await customer.settled(await customer.order(sku, 3))
    assert (order["status"], order["reason"]) == ("rejected", "out-of-stock")
    assert await staff.stock(sku) == {"on_hand": 2, "reserved": 0, "available": 2}
    assert [entry for entry in platform.ledger() if entry["reference"] == order["id"]] == []


async def test_a_quote_is_bought_at_its_price_though_the_price_has_changed(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=5, cents=1000)
    quote = await customer.post("/quotes", {"items": [{"sku": sku, "quantity": 2}]})
    price = {"price": {"amount": 1500, "currency": "EUR"}}
    assert (await staff.http.patch(f"/products/{sku}", json=price)).is_success
    placed = await customer.post("/orders", {"quote": quote["id"], "payment_method": "pm_card_visa"})
    assert placed["total"] == quote["total"] == {"amount": 2000, "currency": "EUR"}
    order = await customer.settled(placed)
    assert order["status"] == "confirmed"
    assert captures(platform, order["id"]) == [(2000, "EUR")]


async def test_a_guest_follows_the_order_with_its_token_and_nobody_does_without(
    platform: Platform, staff: Customer
) -> None:
    sku = await staff.add_product(on_hand=5)
    async with visitor(platform.edge) as guest:
        wanted = {"items": [{"sku": sku, "quantity": 1}], "payment_method": "pm_card_visa", "email": "g@guests.example"}
        placed = await guest.post("/orders", wanted)
        order = await guest.settled(placed)
        assert order["status"] == "confirmed"
        assert order.get("order_token") is None
        without = await guest.http.get(f"/orders/{placed['id']}")
        wrong = await guest.http.get(f"/orders/{placed['id']}?order_token=guessed")
    assert (without.status_code, wrong.status_code) == (401, 404)


@pytest.mark.parametrize("command", ["demo", "status"])
def test_the_launchers_command_succeeds(platform: Platform, command: str) -> None:
    done = platform.launcher(command)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


async def has_stock(staff: Customer, sku: str, **wanted: int) -> bool:
    """Whether the product's stock is this."""
    found = await staff.stock(sku)
    assert found == wanted
    return True


def captures(platform: Platform, order_id: str) -> list[tuple[int, str]]:
    """Amount and currency of every time that money was taken for the order."""
    mine = [entry for entry in platform.ledger() if entry["reference"] == order_id and entry["kind"] == "captured"]
    return [(entry["amount"], entry["currency"]) for entry in mine]
