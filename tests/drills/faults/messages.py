"""A client on the broker that copies messages, sends them on a detour, and writes nonsense."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import asyncpg
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, FieldValue

from broker import topology
from tests.drills.faults import Fault, now_and_then
from tests.drills.scene import Scene
from tests.drills.witness import HEARD
from tests.support.database import AWAY
from tests.support.platform import Platform

POISON = "drill-poison"
"""The header by which poison is known among the dead letters."""
_BROKER_AWAY = (aio_pika.exceptions.AMQPError, OSError, RuntimeError)
WAITED = "aggregates that waited for an event"
_COPIED = 0.3
_LATEST = 2.0


@asynccontextmanager
async def channel_to(platform: Platform) -> AsyncIterator[AbstractChannel]:
    """A channel for the administrator."""
    connection = await aio_pika.connect(platform.servers.amqp)
    async with connection, connection.channel() as channel:
        yield channel


async def copy_messages(scene: Scene) -> None:
    """Some events and commands come again, with the same identity, up to two seconds later: out of order, too."""
    while not scene.is_over:
        try:
            async with channel_to(scene.platform) as channel:
                await _copy(scene, channel)
        except* _BROKER_AWAY:
            await asyncio.sleep(0.5)


async def _copy(scene: Scene, channel: AbstractChannel) -> None:
    queue = await channel.declare_queue(exclusive=True, arguments={"x-queue-type": "classic"})
    exchanges = {name: await channel.get_exchange(name, ensure=False) for name in (topology.EVENTS, topology.COMMANDS)}
    for exchange in exchanges.values():
        await queue.bind(exchange, "#")

    async def copy(message: AbstractIncomingMessage) -> None:
        await asyncio.sleep(scene.chance.uniform(0, _LATEST))
        copied = aio_pika.Message(message.body, headers=message.headers, message_id=secrets.token_hex(8))
        await exchanges[str(message.exchange)].publish(copied, str(message.routing_key))
        scene.struck["messages copied"] += 1

    seen: set[str] = set()
    async with asyncio.TaskGroup() as copying:
        while not scene.is_over:
            message = await queue.get(no_ack=True, fail=False)
            if message is None:
                await asyncio.sleep(0.05)
                continue
            identity = str(message.headers.get("cloudEvents_id"))
            if identity not in seen and scene.chance.random() < _COPIED:
                copying.create_task(copy(message))
            seen.add(identity)


async def reorder_messages(scene: Scene) -> None:
    """What the witness hears comes to it by a detour, each event up to a second late: any of them may overtake."""
    before = await _who_waited(scene)
    while True:
        try:
            async with channel_to(scene.platform) as channel:
                await _detour(scene, channel, before)
            return
        except* _BROKER_AWAY:
            await asyncio.sleep(0.5)


async def _detour(scene: Scene, channel: AbstractChannel, before: int) -> None:
    """Turn the events off their way for as long as there is load; then let them go it again, and lead the last home."""
    detour = await channel.declare_queue("drill.detour", durable=True, arguments={"x-queue-type": "classic"})
    events, home = [await channel.get_exchange(name, ensure=False) for name in (topology.EVENTS, topology.RETURNS)]
    queues = {topic: topology.work_queue("witness", topic) for topic in (kind.topic for kind in HEARD)}
    ways = [(topic, await channel.get_queue(queue, ensure=False)) for topic, queue in queues.items()]

    async def lead_home(message: AbstractIncomingMessage) -> None:
        await asyncio.sleep(scene.chance.uniform(0, 1))
        copied = aio_pika.Message(message.body, headers=message.headers, delivery_mode=2)
        await home.publish(copied, topology.way_home("detour", queues[str(message.routing_key)]))
        await message.ack()
        scene.struck["events sent on a detour"] += 1

    for topic, queue in ways:
        await detour.bind(events, topic)
        await queue.unbind(events, topic)
    counted = 0.0
    async with asyncio.TaskGroup() as leading:
        while True:
            is_over = scene.is_over
            message = await detour.get(fail=False)
            if message is not None:
                leading.create_task(lead_home(message))
            elif is_over:
                break
            else:
                await asyncio.sleep(0.1)
            if time.monotonic() > counted + 0.5:
                await _count_who_waited(scene, before)
                counted = time.monotonic()
    for topic, queue in ways:
        await queue.bind(events, topic)
        await detour.unbind(events, topic)
    async with asyncio.TaskGroup() as leading:
        while (message := await detour.get(fail=False)) is not None:
            leading.create_task(lead_home(message))
    await detour.delete()
    await _count_who_waited(scene, before)


async def _count_who_waited(scene: Scene, before: int) -> None:
    """While the database is away, that is not known."""
    with contextlib.suppress(*AWAY):
        scene.struck[WAITED] = await _who_waited(scene) - before


async def _who_waited(scene: Scene) -> int:
    """In how many aggregates the witness had to wait for an event."""
    database = await asyncpg.connect(scene.platform.servers.database, timeout=5)
    try:
        return int(await database.fetchval("SELECT count(*) FROM witness.positions WHERE waited_for"))
    finally:
        await database.close()


async def write_nonsense(scene: Scene) -> None:
    """What is no message of this platform, to a queue that somebody works off."""
    exchange, topic = scene.chance.choice(
        (
            (topology.COMMANDS, "catalog.reserve-stock.v1"),
            (topology.COMMANDS, "payments.capture-payment.v1"),
            (topology.EVENTS, "catalog.stock-reserved.v1"),
            (topology.EVENTS, "payments.payment-captured.v1"),
        )
    )
    name = secrets.token_hex(8)
    envelope = {"cloudEvents_id": name, "cloudEvents_type": topic, "cloudEvents_source": "/drill"}
    headers: dict[str, FieldValue] = {POISON: name}
    headers.update(scene.chance.choice(({}, envelope, envelope | {"sequence": "many"})))
    body = scene.chance.choice((b"", b"{}", b"\xff\x00", b'{"order_id": 7}', b"[" * 5000))
    scene.poison.add(name)
    while True:
        with contextlib.suppress(*_BROKER_AWAY):
            async with channel_to(scene.platform) as channel:
                target = await channel.get_exchange(exchange, ensure=False)
                await target.publish(aio_pika.Message(body, headers=headers), topic)
            break
        await asyncio.sleep(0.5)
    scene.struck["nonsense written"] += 1


FAULTS = (
    Fault("reordered-messages", reorder_messages, (WAITED,)),
    Fault("copied-messages", copy_messages, ("duplicates suppressed",)),
    now_and_then("poison", write_nonsense, ("given up on",), pause=(0.05, 0.5)),
)
