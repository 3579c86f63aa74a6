"""The edge's own exchange: what it asks arrives, bound or not, and nobody else may bind there."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import aio_pika
import pytest

from broker import topology
from broker.front_door import FrontDoor
from broker.ids import new_id
from broker.lane import Answer, NobodyThereError, Request
from broker.lane.carriers import Carrier
from broker.lane.wire.link import WireLink
from broker.liveness import Liveness
from broker.registry import Registry
from contracts.presence import Hello, Manifest, Offer
from tests.broker.test_topology import Broker
from tests.support.eventually import eventually
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers
SAY = "parrot.say.v1"
PARROT = Manifest(service="parrot", version="1", offers=(Offer(topic=SAY, kind="query", request={}, reply={}),))


async def echo(request: Request) -> Answer:
    return Answer(request.body)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as it:
        yield it


async def answering(stack: AsyncExitStack, amqp: str) -> None:
    """A parrot that knows nothing of the front door."""
    carrier = Carrier(amqp, name="parrot")
    carrier.responder("parrot", (SAY,), echo, Liveness(carrier.publisher))
    for link in (carrier.publishing, carrier.consuming):
        stack.push_async_callback(link.close)
        await link.start()
        await link.wait_up(within=10)


async def asking(stack: AsyncExitStack, amqp: str, carried_by: str) -> Carrier:
    carrier = Carrier(amqp, name="edge", carried_by=carried_by)
    stack.push_async_callback(carrier.publishing.close)
    return carrier


async def opened(stack: AsyncExitStack, amqp: str, *services: Manifest) -> FrontDoor:
    """The front door of an edge that knows these services."""
    registry, link = Registry(trusted_logins=frozenset({"edge"})), WireLink(amqp, name="edge presence")
    for manifest in services:
        hello = Hello(instance=new_id(), manifest=manifest, started_at=datetime.now(UTC))
        registry.hello(hello, login="edge", now=time.monotonic())
    door = FrontDoor(registry, link)
    stack.push_async_callback(link.close)
    await link.start()
    await link.wait_up(within=10)
    keeping = asyncio.create_task(door.keep_bound_forever())
    stack.callback(keeping.cancel)
    return door


async def is_bound(broker: Broker, *, to: bool) -> None:
    async def check() -> bool:
        found = await asyncio.to_thread(broker.bindings, topology.requests_queue("parrot"))
        assert ((topology.FRONT_DOOR, SAY) in found) == to
        return True

    await eventually(check, within=10)


@pytest.mark.parametrize("carried_by", ["wire", "aio-pika"])
async def test_what_is_not_bound_yet_arrives_through_requests_and_what_nobody_answers_comes_back(
    stack: AsyncExitStack, amqp: str, carried_by: str
) -> None:
    carrier = await asking(stack, amqp, carried_by)
    requester = carrier.requester(owner="edge", exchange=topology.FRONT_DOOR)
    await carrier.publishing.start()
    await carrier.publishing.wait_up(within=10)
    with pytest.raises(NobodyThereError):
        await requester.request(Request(SAY, b"1", time.time() + 5))
    await answering(stack, amqp)
    assert (await requester.request(Request(SAY, b"2", time.time() + 5))).body == b"2"


async def test_an_accepted_operation_is_bound_and_bound_again_after_a_loss(
    stack: AsyncExitStack, servers: RealServers, amqp: str
) -> None:
    broker = Broker(servers, amqp)
    stack.callback(broker.close)
    await answering(stack, amqp)
    door = await opened(stack, amqp, Manifest(service="listener", version="1"), PARROT)
    await is_bound(broker, to=True)
    carrier = await asking(stack, amqp, "wire")
    requester = carrier.requester(owner="edge", exchange=topology.FRONT_DOOR)
    await carrier.publishing.start()
    await carrier.publishing.wait_up(within=10)
    assert (await requester.request(Request(SAY, b"3", time.time() + 5))).body == b"3"
    async with await aio_pika.connect(amqp) as connection:
        exchange = await (await connection.channel()).get_exchange(topology.FRONT_DOOR, ensure=False)
        await exchange.delete()
    await is_bound(broker, to=False)
    assert door._link.connection is not None
    await door._link.connection.close()
    await is_bound(broker, to=True)


async def test_a_service_that_gives_up_all_operations_leaves_the_door_at_work(
    stack: AsyncExitStack, servers: RealServers, amqp: str
) -> None:
    broker = Broker(servers, amqp)
    stack.callback(broker.close)
    await answering(stack, amqp)
    door = await opened(stack, amqp, PARROT)
    await is_bound(broker, to=True)
    say_hello(door, Manifest(service="parrot", version="2"))
    await eventually(lambda: forgotten(door, "parrot"), within=10)
    say_hello(door, PARROT)
    await eventually(lambda: forgotten(door, "parrot", is_so=False), within=10)


def say_hello(door: FrontDoor, manifest: Manifest) -> None:
    hello = Hello(instance=new_id(), manifest=manifest, started_at=datetime.now(UTC))
    assert door._registry.hello(hello, login="edge", now=time.monotonic())


async def forgotten(door: FrontDoor, service: str, *, is_so: bool = True) -> bool:
    return (service not in door._bound) is is_so


async def test_a_service_without_a_queue_is_bound_when_it_has_one(
    stack: AsyncExitStack, servers: RealServers, amqp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.front_door.PATIENCE", 0.5)
    broker = Broker(servers, amqp)
    stack.callback(broker.close)
    await opened(stack, amqp, PARROT)
    await asyncio.sleep(1)  # long enough to look for the queue in vain
    await answering(stack, amqp)
    await is_bound(broker, to=True)
