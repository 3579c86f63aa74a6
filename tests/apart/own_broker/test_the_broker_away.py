"""The broker goes away for a while: who asks is told so in time, and everything comes back by itself."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from broker import topology
from broker.connection import declare
from broker.injection import Attempt
from broker.lane import DEFAULT_SECONDS
from broker.outbox import Origin
from broker.transaction import Transaction
from tests.broker.diary import Bench, Gate, Written, diary, take
from tests.support.customer import Customer, customer_of, staff_of
from tests.support.eventually import eventually
from tests.support.harness import under_test
from tests.support.platform import Platform
from tests.support.rabbitmq import OwnRabbitMq
from tests.support.servers import RealServers


@pytest.fixture
def amqp(on_own_broker: RealServers) -> Iterator[str]:
    """The address of a fresh virtual host of that broker."""
    url = on_own_broker.new_vhost()
    yield url
    on_own_broker.drop_vhost(url)


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
        assert [captured.count(order["id"]) for order in [*settled, again]] == [1] * 14
        await eventually(lambda: has_available(staff, sku, 100 - 14), within=10)
    assert platform.pids["edge"] == edge


async def test_a_service_goes_on_where_it_was_and_loses_nothing(
    own_broker: OwnRabbitMq, amqp: str, database: str
) -> None:
    gate = Gate()

    async def wait(said: Any, _: Attempt) -> None:
        if said.number == 1:
            await gate.wait(1)

    async with under_test(diary({"a": wait}), amqp=amqp, database=database) as it:
        bench = Bench(it)
        assert it.link.connection is not None
        async with it.link.connection.channel() as channel:
            await declare(channel, topology.work("listener", Written.topic, exchange=topology.EVENTS))
        heard = topology.work_queue("listener", Written.topic)
        await it.send(bench.write(1))  # under way while the broker goes
        await gate.has_seen(1)
        await it.send(bench.write(2))
        async with own_broker.away():
            assert it.service is not None
            assert it.service.database is not None
            gate.open()

            async def say(tx: Transaction) -> None:
                tx.emit(Written(account="said while the broker was away", number=3))

            await it.service.database.transact(Origin("test"), say)
        await it.wait_up(within=30)
        await it.send(bench.write(4))
        await bench.has_written_all({(1, 1), (2, 1), (4, 1)}, within=30)

        said: set[int] = set()
        while not said >= {1, 2, 3, 4}:
            said.add(json.loads((await take(it, heard, within=20)).body)["number"])


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
