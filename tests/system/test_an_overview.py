"""Several questions at one address, on the whole platform."""

from tests.support.customer import Customer


async def test_a_customer_sees_the_profile_and_the_last_orders_at_once(staff: Customer, customer: Customer) -> None:
    sku = await staff.add_product(on_hand=50)
    numbers = [(await customer.order(sku))["number"] for _ in range(6)]
    overview = await customer.get("/users/me/overview")
    assert overview["profile"] == await customer.get("/users/me")
    assert [order["number"] for order in overview["orders"]["items"]] == numbers[:0:-1]
    assert overview["problems"] == {}


async def test_nobody_sees_it_without_an_account(customer: Customer) -> None:
    answer = await customer.http.get("/users/me/overview", headers={"Authorization": ""})
    assert answer.status_code == 401
