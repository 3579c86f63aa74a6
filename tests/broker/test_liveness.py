"""Who no longer consumes finds out; who does is never suspected. Time runs ten times faster here, but for one test."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue

from broker import liveness as module
from broker import topology
from broker.connection import Link, declare
from broker.lane.carriers import Carrier
from broker.liveness import Liveness, is_probe
from broker.running import STUCK
from tests.support.cuts import cut_connections, cuttable
from tests.support.eventually import eventually
from tests.support.processes import spawning
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers
QUEUE = "tests.work"
FASTER = 10


class Worker:
    """Consumes one queue, as a service does, for `seconds` each."""

    def __init__(self, amqp: str) -> None:
        self.link = Link(amqp, name="worker")
        self.carrier = Carrier(amqp, name="prober")
        self.liveness = Liveness(self.carrier.publisher)
        self.handled = 0
        self.queue: AbstractQueue
        self.tag = ""
        self.seconds = 0.0
        self.link.on_connect(self._consume)

    async def _consume(self, connection: AbstractConnection) -> None:
        channel = await connection.channel()
        await declare(channel, topology.shared())
        self.queue = await channel.declare_queue(QUEUE, durable=True)
        await self.queue.bind(topology.RETURNS, topology.way_home("*", QUEUE))
        await channel.set_qos(prefetch_count=20)
        self.liveness.watch(QUEUE)
        self.tag = await self.queue.consume(self._take)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        self.liveness.prove(QUEUE)
        if not is_probe(message.type):
            with self.liveness.busy(QUEUE):
                await asyncio.sleep(self.seconds)
                self.handled += 1
        await message.ack()


Hire = Callable[[], "asyncio.Future[Worker]"]


@pytest.fixture
def amqp(amqp: str, servers: RealServers) -> str:
    """For a login of its own."""
    return cuttable(servers, amqp)


@pytest.fixture
async def hire(amqp: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hire]:
    """Starts workers that probe ten times as often."""
    monkeypatch.setattr(module, "PROBE_EVERY", module.PROBE_EVERY / FASTER)
    async with AsyncExitStack() as stack:

        async def start() -> Worker:
            worker = Worker(amqp)
            for link in (worker.link, worker.carrier.publishing):
                await link.start()
                stack.push_async_callback(link.close)
                await link.wait_up(within=10)
            probing = asyncio.create_task(worker.liveness.probe_forever())
            stack.callback(probing.cancel)
            return worker

        yield lambda: asyncio.ensure_future(start())


async def stays_well(*workers: Worker, seconds: float) -> None:
    """For so many seconds (as long as a silent one would need twice) nobody is stuck."""
    waits = [asyncio.create_task(worker.liveness.stuck.wait()) for worker in workers]
    done, pending = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in pending:
        wait.cancel()
    assert not done


async def test_whose_consumer_was_cancelled_behind_its_back_is_stuck_within_ten_seconds(hire: Hire) -> None:
    worker = await hire()
    await worker.queue.cancel(worker.tag)
    await asyncio.wait_for(worker.liveness.stuck.wait(), 12 / FASTER)


async def test_one_that_lost_its_consumer_is_found_among_others_that_have_theirs(hire: Hire) -> None:
    well, ill = await hire(), await hire()
    await ill.queue.cancel(ill.tag)
    await asyncio.wait_for(ill.liveness.stuck.wait(), 12 / FASTER)
    await stays_well(well, seconds=1)


async def test_an_idle_worker_is_well(hire: Hire) -> None:
    await stays_well(await hire(), seconds=20 / FASTER)


async def test_ten_idle_workers_on_one_queue_are_well(hire: Hire) -> None:
    await stays_well(*[await hire() for _ in range(10)], seconds=25 / FASTER)


async def test_workers_are_well_beside_two_that_hang_with_their_share_of_the_probes(hire: Hire, amqp: str) -> None:
    worker = await hire()
    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(QUEUE, ensure=False)
        for _ in range(2):
            await queue.consume(_hang)
        await stays_well(worker, seconds=20 / FASTER)


async def _hang(_: AbstractIncomingMessage) -> None:
    """Takes a message and never acknowledges."""


async def test_a_worker_whose_handler_takes_twelve_seconds_is_well(hire: Hire) -> None:
    slow, other = await hire(), await hire()
    slow.seconds = other.seconds = 12 / FASTER
    async with await aio_pika.connect(slow.link.url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(topology.RETURNS)
        for _ in range(5):
            await exchange.publish(aio_pika.Message(b""), topology.way_home("tests", QUEUE))
    await stays_well(slow, other, seconds=30 / FASTER)
    assert slow.handled + other.handled == 5


async def test_a_broker_that_was_away_is_no_reason(hire: Hire, amqp: str, servers: RealServers) -> None:
    worker = await hire()
    cut_connections(servers, amqp)
    await stays_well(worker, seconds=20 / FASTER)
    assert worker.link.is_up


async def test_probes_that_the_broker_does_not_confirm_count_for_nothing(hire: Hire) -> None:
    worker = await hire()
    await worker.queue.cancel(worker.tag)
    await worker.carrier.publishing.close()  # as under an alarm: nothing can be published
    await stays_well(worker, seconds=15 / FASTER)


async def test_ages_tell_how_long_ago_it_last_consumed(hire: Hire) -> None:
    worker = await hire()
    await worker.queue.cancel(worker.tag)

    async def aged() -> bool:
        return worker.liveness.ages()[QUEUE] > 0.3

    await eventually(aged)
    with worker.liveness.busy(QUEUE):
        assert (worker.liveness.ages()[QUEUE], worker.liveness.load) == (0.0, 1)


async def test_a_process_that_is_stuck_ends_itself(amqp: str) -> None:
    async with spawning("tests.broker.lane.doomed") as spawn, await aio_pika.connect(amqp) as connection:
        process = await spawn(amqp, PYTHONUNBUFFERED="1", PATH=os.environ["PATH"])
        channel = await connection.channel()
        await declare(channel, topology.shared())

        async def consumed() -> bool:
            queue = await channel.declare_queue("doomed.requests", durable=True, arguments={"x-queue-type": "classic"})
            return queue.declaration_result.consumer_count == 1

        await eventually(consumed, within=15)
        # Nothing reaches it any more, and nobody has told it.
        requests = await channel.get_queue("doomed.requests", ensure=False)
        await requests.unbind(topology.RETURNS, topology.way_home("*", "doomed.requests"))
        assert await asyncio.wait_for(process.wait(), 14) == STUCK
