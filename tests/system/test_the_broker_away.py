"""The broker goes away for a while: who asks is told so in time, and everything comes back by itself."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from broker.lane import DEFAULT_SECONDS
from tests.support.customer import Customer, customer_of, staff_of
from tests.support.eventually import eventually
from tests.support.platform import Platform
from tests.support.rabbitmq import OwnRabbitMq
from tests.support.servers import RealServers
from tests.system.conftest import on_shared_servers


@pytest.fixture
def platform(servers_of_its_own: RealServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose broker nobody else uses."""
    with on_shared_servers(servers_of_its_own, tmp_path_factory.mktemp("away")) as it:
        yield it


async def test_without_its_broker_it_says_so_in_time_and_recovers_by_itself(
    platform: Platform, own_broker: OwnRabbitMq
) -> None:
    async with staff_of(platform) as staff, customer_of(platform) as customer:
        sku, edge = await staff.add_product(on_hand=100), platform.pids["edge"]
        accepted = [await customer.order(sku, 1, "pm_sandbox_slow") for _ in range(3)]
        accepted += [await customer.order(sku) for _ in range(10)]
        async with own_broker.away():
            await eventually(lambda: is_away(customer, "/readyz"), within=5)
            refused = [await said_no(customer, "GET", "/products"), await said_no(customer, "POST", "/orders", sku)]
            assert {(status, slug) for status, slug, _ in refused} == {(503, "broker-away")}
            assert max(took for _, _, took in refused) < DEFAULT_SECONDS
        await eventually(lambda: is_ready(customer), within=30)
        settled = [await customer.settled(order, within=30) for order in accepted]
        assert {order["status"] for order in settled} == {"confirmed"}
        again = await customer.settled(await eventually(lambda: ordered(customer, sku), within=10), within=10)
        assert again["status"] == "confirmed"
        captured = [entry["reference"] for entry in platform.ledger() if entry["kind"] == "captured"]
        assert sorted(captured) == sorted(order["id"] for order in [*settled, again])
        await eventually(lambda: has_available(staff, sku, 100 - len(captured)), within=10)
    assert platform.pids["edge"] == edge


async def is_away(customer: Customer, path: str) -> bool:
    """Whether the answer is 503."""
    return (await customer.http.get(path)).status_code == 503


async def is_ready(customer: Customer) -> bool:
    """Whether the edge is ready and the catalogue answers."""
    answers = [await customer.http.get(path) for path in ("/readyz", "/products")]
    assert [answer.status_code for answer in answers] == [200, 200]
    return True


async def said_no(customer: Customer, method: str, path: str, sku: str = "") -> tuple[int, str, float]:
    """Status, slug and seconds of an answer."""
    body = {"items": [{"sku": sku, "quantity": 1}], "payment_method": "pm_card_visa"} if sku else None
    started = time.monotonic()
    answer = await customer.http.request(method, path, json=body)
    return answer.status_code, answer.json()["type"].removeprefix("/problems/"), time.monotonic() - started


async def ordered(customer: Customer, sku: str) -> dict[str, Any]:
    """An order, as soon as one is taken again."""
    return await customer.order(sku)


async def has_available(staff: Customer, sku: str, wanted: int) -> bool:
    """Whether so many can be ordered."""
    assert await staff.available(sku) == wanted
    return True
