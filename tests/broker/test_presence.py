"""Hello, beat, bye on a real broker: who is there, who is away, who may say so."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import ClassVar

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError
from pydantic import create_model

from broker import topology
from broker.connection import Link, declare
from broker.ids import new_id, new_token
from broker.lane.carriers import Carrier
from broker.lane.wire.link import WireLink
from broker.liveness import Liveness
from broker.presence import Herald
from broker.publisher import Publisher
from broker.registry import Registry, ServiceRecord
from broker.running import running
from broker.service import Service
from broker.watcher import Watcher
from contracts.base import Event, Message
from contracts.presence import Accepted, Beat, Bye, Hello, Manifest, Offer, RollCall, Route
from tests.broker.lane.carriers import next_message
from tests.support.counting import Counting
from tests.support.cuts import cut_connections, cuttable
from tests.support.eventually import eventually
from tests.support.processes import spawning
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers


def manifest(service: str, *, version: str = "1") -> Manifest:
    route = Route(method="GET", path=f"/{service}")
    offer = Offer(topic=f"{service}.say.v1", kind="query", http=route, request={}, reply={})
    return Manifest(service=service, version=version, offers=(offer,))


class Presence:
    """Watchers and heralds on one virtual host; `login` makes a service's own login."""

    def __init__(self, servers: RealServers, amqp: str, stack: AsyncExitStack) -> None:
        self.amqp = amqp
        self._servers = servers
        self._stack = stack

    def login(self, service: str) -> str:
        """The address for a login of this service; without it the tests' own login speaks, which is trusted."""
        return cuttable(self._servers, self.amqp, service=service)

    async def link(self, name: str, amqp: str | None = None) -> Link:
        """A link that is started by whoever has set it up."""
        link = Link(amqp or self.amqp, name=name)
        self._stack.push_async_callback(link.close)
        return link

    async def publisher(self, amqp: str | None = None) -> Publisher:
        """A publisher that is up."""
        carrier = Carrier(amqp or self.amqp, name="tests")
        carrier.requester(owner=carrier.publishing.login.partition("@")[0])  # declares the exchanges
        self._stack.push_async_callback(carrier.publishing.close)
        await carrier.publishing.start()
        return carrier.publisher

    async def herald(self, of: Manifest, amqp: str | None = None) -> Herald:
        """An instance that has said hello and beats, and whose queue is consumed."""
        link = await self.link(of.service, amqp)

        async def consume(connection: AbstractConnection) -> None:
            channel = await connection.channel()
            await declare(channel, topology.shared())
            await declare(channel, topology.requests(of.service, []))
            await (await channel.get_queue(topology.requests_queue(of.service))).consume(_ignore)

        link.on_connect(consume)
        publisher = await self.publisher(amqp)
        herald = Herald(of, publisher=publisher, consuming=link, liveness=Liveness(publisher))
        await link.start()
        await link.wait_up(within=10)
        beating = asyncio.create_task(herald.beat_forever())
        self._stack.callback(beating.cancel)
        return herald

    async def watcher(self, amqp: str | None = None, *, ready: bool = True) -> Registry:
        """The registry of a watcher that watches."""
        link = WireLink(amqp or self.amqp, name="watcher")
        self._stack.push_async_callback(link.close)
        registry = Registry(trusted_logins=frozenset({link.login if amqp is None else Link(self.amqp, name="").login}))
        publisher = await self.publisher(amqp)
        watcher = Watcher(registry, link, publisher=publisher, owner="watcher")
        await link.start()
        watching = asyncio.create_task(watcher.watch_forever())
        self._stack.callback(watching.cancel)
        if ready:
            await asyncio.wait_for(watcher.known.wait(), 10)
        return registry

    @asynccontextmanager
    async def stranger(self, amqp: str | None = None) -> AsyncIterator[Callable[..., Awaitable[object]]]:
        """`await say(message, user_id=...)` publishes presence messages by hand."""
        async with await aio_pika.connect(amqp or self.amqp) as connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(topology.PRESENCE, ensure=False)

            async def say(message: Message, *, user_id: str | None) -> object:
                topic = getattr(message, "topic", "presence.hello")
                body = message.model_dump_json().encode()
                said = aio_pika.Message(body, user_id=user_id, message_id=new_token())
                return await exchange.publish(said, f"{topic}.by-hand", mandatory=False)

            yield say


async def _ignore(_: object) -> None:
    """Takes a message and does nothing."""


@pytest.fixture
async def presence(servers: RealServers, amqp: str) -> AsyncIterator[Presence]:
    async with AsyncExitStack() as stack:
        yield Presence(servers, cuttable(servers, amqp), stack)


def record(registry: Registry, service: str) -> ServiceRecord | None:
    return registry.services.get(service)


async def is_present(registry: Registry, service: str, *, within: float = 5, instances: int = 1) -> None:
    async def present() -> bool:
        found = record(registry, service)
        return found is not None and len(found.instances) == instances

    await eventually(present, within=within)


async def is_away(registry: Registry, service: str, *, within: float) -> None:
    async def away() -> bool:
        found = record(registry, service)
        return found is not None and found.is_away

    await eventually(away, within=within)


async def test_twenty_instances_are_known_at_once_to_a_watcher_that_starts(presence: Presence) -> None:
    for number in range(20):
        await presence.herald(manifest(f"service-{number % 5}"))
    began = time.monotonic()
    registry = await presence.watcher()
    for number in range(5):
        await is_present(registry, f"service-{number}", instances=4, within=1)
    assert time.monotonic() - began < 1.5


async def test_an_instance_that_starts_is_known_at_once(presence: Presence) -> None:
    registry = await presence.watcher()
    await presence.herald(manifest("shop"))
    await is_present(registry, "shop", within=1)


async def test_who_says_bye_is_away_at_once(presence: Presence) -> None:
    herald = await presence.herald(manifest("shop"))
    registry = await presence.watcher()
    await is_present(registry, "shop")
    await herald.bye()
    await is_away(registry, "shop", within=0.5)


async def test_who_has_said_bye_stays_away_even_when_the_roll_is_called(presence: Presence) -> None:
    leaving = await presence.herald(manifest("shop"))
    registry = await presence.watcher()
    await is_present(registry, "shop")
    await leaving.bye()
    await is_away(registry, "shop", within=0.5)
    async with presence.stranger() as say:
        await say(RollCall(asked_by=new_id()), user_id=None)
    await presence.watcher()  # calls the roll
    staying = await presence.herald(manifest("shop"))
    await is_present(registry, "shop")
    found = record(registry, "shop")
    assert found is not None
    assert set(found.instances) == {staying.instance}


async def test_a_killed_service_is_away_within_five_seconds(presence: Presence) -> None:
    async with spawning("tests.broker.lane.doomed") as spawn:
        process = await spawn(presence.amqp)
        registry = await presence.watcher()
        await is_present(registry, "doomed", within=15)
        process.kill()
        await is_away(registry, "doomed", within=5)


async def test_a_watcher_that_starts_while_a_service_is_away_knows_its_routes(presence: Presence) -> None:
    first = await presence.watcher()
    herald = await presence.herald(manifest("shop"), presence.login("shop"))
    await is_present(first, "shop")
    await herald.bye()
    await is_away(first, "shop", within=0.5)
    second = await presence.watcher()
    assert [(found.name, found.is_away, offer.topic) for found, offer in second.offers()] == [
        ("shop", True, "shop.say.v1")
    ]


async def test_a_watcher_that_starts_after_a_roll_back_knows_the_version_that_was_rolled_back_to(
    presence: Presence,
) -> None:
    first = await presence.watcher()
    for version in ("1", "2", "1"):
        herald = await presence.herald(manifest("shop", version=version))
        await is_present(first, "shop")
        await herald.bye()
        await is_away(first, "shop", within=0.5)
    found = record(await presence.watcher(), "shop")
    assert found is not None
    assert found.manifest.version == "1"


async def test_after_a_cut_everybody_is_known_again(presence: Presence, servers: RealServers) -> None:
    await presence.herald(manifest("shop"))
    registry = await presence.watcher()
    await is_present(registry, "shop")
    found = record(registry, "shop")
    assert found is not None
    found.instances.clear()
    cut_connections(servers, presence.amqp)
    await is_present(registry, "shop", within=10)


async def test_an_unknown_beat_is_answered_by_calling_the_roll(presence: Presence) -> None:
    await presence.herald(manifest("shop"))
    registry = await presence.watcher()
    await is_present(registry, "shop")
    registry.services.clear()
    await is_present(registry, "shop", within=4)


async def test_a_wrong_user_id_is_refused_by_the_broker_itself(presence: Presence) -> None:
    registry = await presence.watcher()
    async with presence.stranger(presence.login("plug")) as say:
        with pytest.raises(AMQPError, match="user_id"):
            await say(_hello("users"), user_id="users")
    await presence.herald(manifest("shop"))
    await is_present(registry, "shop")
    assert set(registry.services) == {"shop"}


async def test_a_login_of_another_service_is_refused_and_listed(presence: Presence) -> None:
    registry = await presence.watcher()
    plug = presence.login("plug")
    async with presence.stranger(plug) as say:
        await say(_hello("users"), user_id=Link(plug, name="").login)

    async def listed() -> bool:
        return [refused.claim for refused in registry.refused] == ["the service users"]

    await eventually(listed)
    assert not registry.services


async def test_a_message_without_a_user_id_is_ignored_and_counted(presence: Presence) -> None:
    registry = await presence.watcher()
    ignored = Counting("hedgerow_presence_refused_total", reason="no user id")
    async with presence.stranger() as say:
        await say(_hello("users"), user_id=None)

    async def counted() -> bool:
        return ignored.more == 1

    await eventually(counted)
    assert not registry.services


async def test_manifests_are_only_remembered_from_trusted_logins(presence: Presence) -> None:
    plug, ours = presence.login("plug"), Link(presence.amqp, name="").login
    await presence.watcher()  # declares
    for amqp, login, service in ((plug, Link(plug, name="").login, "users"), (presence.amqp, ours, "shop")):
        async with presence.stranger(amqp) as say:
            accepted = Accepted(login=service, manifest=manifest(service), newest=datetime.now(UTC))
            await say(accepted, user_id=login)
    registry = await presence.watcher()
    assert set(registry.services) == {"shop"}


async def test_nonsense_is_refused_and_the_watcher_goes_on(presence: Presence) -> None:
    registry = await presence.watcher()
    refused = Counting("hedgerow_presence_refused_total", reason="not a presence message")
    ours = Link(presence.amqp, name="").login
    naive = create_model(
        "Naive", __base__=Message, instance=(str, ...), manifest=(Manifest, ...), started_at=(str, ...)
    )
    async with presence.stranger() as say:
        await say(Message(), user_id=ours)
        nonsense = naive(instance=str(new_id()), manifest=manifest("users"), started_at="2026-01-01T00:00:00")
        await say(nonsense, user_id=ours)
    await presence.herald(manifest("shop"))
    await is_present(registry, "shop")
    assert (set(registry.services), refused.more) == ({"shop"}, 2)


class _Heard(Event):
    subject: ClassVar[str] = "id"
    id: str


async def test_a_beat_of_a_service_with_twelve_queues_has_at_most_300_bytes(amqp: str) -> None:
    service = Service("warehouse-automation", version="1")

    async def hear(event: _Heard) -> None:
        """Nothing."""

    for number in range(12):
        kind = type(f"Heard{number}", (_Heard,), {"topic": f"orders.a-quite-long-event-name-{number}.v1"})
        service.hears(kind)(hear)
    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        await declare(channel, topology.shared())
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.PRESENCE, f"{Beat.topic}.#")
        async with running(service, amqp_url=amqp, database_url=None):
            beat = await next_message(queue)
    assert len(beat.body) <= 300
    assert len(Beat.model_validate_json(beat.body).consumed) == 12


async def test_the_ages_in_a_beat_are_in_the_order_of_the_manifest(presence: Presence) -> None:
    of = Manifest(service="shop", version="1", offers=manifest("shop").offers, hears=("a.x.v1", "b.x.v1"))
    link, publisher = await presence.link("shop"), await presence.publisher()
    liveness = Liveness(publisher)
    for queue in ("shop.b.x.v1", "shop.requests", "shop.a.x.v1"):
        liveness.watch(queue)
    ages = {"shop.b.x.v1": 3.0, "shop.requests": 1.0, "shop.a.x.v1": 2.0}
    liveness._last = {queue: time.monotonic() - age for queue, age in ages.items()}
    herald = Herald(of, publisher=publisher, consuming=link, liveness=liveness)
    registry = await presence.watcher()
    await link.start()
    await link.wait_up(within=5)
    beating = asyncio.create_task(herald.beat_forever())

    async def told() -> bool:
        found = record(registry, "shop")
        return found is not None and [one.consumed for one in found.instances.values()] == [(1, 2, 3)]

    await eventually(told)
    beating.cancel()


def _hello(service: str) -> Hello:
    return Hello(instance=new_id(), manifest=manifest(service), started_at=datetime.now(UTC))


def test_a_bye_is_small_too() -> None:
    assert len(Bye(instance=new_id(), service="warehouse-automation").model_dump_json()) < 300
