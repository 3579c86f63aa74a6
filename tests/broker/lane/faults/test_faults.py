"""A broker that is restarted, stalls, throws everybody out or runs out of memory, while it is used."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from broker.lane import Answer, ConnectionLostError, DeadlinePassedError, Requester
from broker.publisher import PublishRefusedError
from broker.reconnecting import BrokerAwayError
from tests.broker.lane.carriers import Lane, asking, echo
from tests.broker.shop import linked
from tests.support.eventually import eventually
from tests.support.rabbitmq import OwnRabbitMq

pytestmark = pytest.mark.servers
READERS = 32


@dataclass
class Load:
    """People who ask again and again; every answer was checked."""

    requester: Requester
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    async def ask_on(self, who: int) -> None:
        """Ask, and ask again."""
        for number in range(10**9):
            body = f'"{who}: {number}"'.encode()
            try:
                answer = await self.requester.request(replace(asking(body), repeatable=True))
            except (BrokerAwayError, DeadlinePassedError) as error:
                self.failures[type(error).__name__] += 1
                await asyncio.sleep(0.05)
            else:
                assert answer == Answer(body)
                self.answered += 1
                await asyncio.sleep(0.1)

    async def goes_on(self, *, within: float = 20) -> None:
        """Wait until there are answers again."""
        before = self.answered

        async def more() -> bool:
            return self.answered > before + 5 * READERS

        await eventually(more, within=within)


@asynccontextmanager
async def loaded(lane: Lane) -> AsyncIterator[Load]:
    """While the block lasts there is load; whoever fails in another way than by the broker's fails the test."""
    await lane.responder(echo)
    load = Load(await lane.requester())
    tasks = [asyncio.create_task(load.ask_on(who)) for who in range(READERS)]
    try:
        await load.goes_on()
        yield load
        assert not [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_thrown_out_everybody_comes_back(own_lane: Lane, node: OwnRabbitMq) -> None:
    async with loaded(own_lane) as load:
        await node.rabbitmqctl("close_all_connections", "tests")
        await load.goes_on()


async def test_a_stalled_broker_is_noticed_and_found_again(own_lane: Lane, node: OwnRabbitMq) -> None:
    async with loaded(own_lane) as load:
        with node.stalled(), pytest.raises(ConnectionLostError):
            await asyncio.wait_for(load.requester.request(asking(within=30)), 5)
        await load.goes_on()


async def test_a_broker_that_is_short_of_memory_is_not_asked_until_it_is_over(
    own_lane: Lane, node: OwnRabbitMq
) -> None:
    async with loaded(own_lane) as load:
        await node.rabbitmqctl("set_vm_memory_high_watermark", "0.00001")
        try:
            await eventually(lambda: _refuses_at_once(load.requester), within=20)
        finally:
            await node.rabbitmqctl("set_vm_memory_high_watermark", "0.4")
        await load.goes_on()


async def test_a_broker_that_is_restarted_under_load_loses_nothing_that_it_confirmed(
    own_lane: Lane, node: OwnRabbitMq
) -> None:
    confirmed = set[str]()
    async with loaded(own_lane) as load, linked(node.amqp, carried_by="wire") as publisher:
        await publisher.link.start()
        await publisher.link.wait_up(within=10)
        await _durable_queue(node)

        async def publish_on(who: int) -> None:
            for number in range(10**9):
                body = f"{who}: {number}"
                with contextlib.suppress(BrokerAwayError, PublishRefusedError):
                    await publisher.publish("events", "kept.v1", body.encode(), {}, mandatory=True)
                    confirmed.add(body)
                await asyncio.sleep(0.05)

        publishing = [asyncio.create_task(publish_on(who)) for who in range(10)]
        await eventually(lambda: _holds(lambda: len(confirmed) > 100))
        async with node.away():
            before = len(confirmed)
        await eventually(lambda: _holds(lambda: len(confirmed) > before + 100), within=20)
        await load.goes_on()
        for task in publishing:
            task.cancel()
        await asyncio.gather(*publishing, return_exceptions=True)
    assert confirmed - await _kept(node) == set()


async def _durable_queue(node: OwnRabbitMq) -> None:
    async with await aio_pika.connect(node.amqp) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind("events", "kept.v1")


async def _kept(node: OwnRabbitMq) -> set[str]:
    async with await aio_pika.connect(node.amqp) as connection:
        channel = await connection.channel()
        queue, found = await channel.get_queue("kept"), list[str]()

        async def keep(message: AbstractIncomingMessage) -> None:
            found.append(message.body.decode())

        await queue.consume(keep, no_ack=True)
        await eventually(lambda: _holds(lambda: len(found) >= (queue.declaration_result.message_count or 0)), within=20)
        return set(found)


async def _refuses_at_once(requester: Requester) -> bool:
    """Until the broker has said that it takes nothing (or while it is found again), what is asked waits in vain."""
    began = time.monotonic()
    try:
        await requester.request(asking(within=2))
    except BrokerAwayError as error:
        return not isinstance(error, ConnectionLostError) and time.monotonic() - began < 0.5
    except DeadlinePassedError:
        return False
    return False


async def _holds(check: Callable[[], bool]) -> bool:
    return check()
