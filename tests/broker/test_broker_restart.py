"""Services whose broker goes away and comes back."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from broker import topology
from broker.connection import declare
from broker.injection import Attempt
from broker.outbox import Origin
from broker.transaction import Transaction
from tests.broker.diary import Bench, Gate, Written, diary, take
from tests.support.harness import under_test
from tests.support.rabbitmq import OwnRabbitMq
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers


@pytest.fixture
def amqp(servers_of_its_own: RealServers) -> Iterator[str]:
    """A virtual host of a broker that nobody else uses."""
    url = servers_of_its_own.new_vhost()
    yield url
    servers_of_its_own.drop_vhost(url)


async def test_after_a_restart_of_the_broker_everything_goes_on_and_nothing_is_lost(
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
