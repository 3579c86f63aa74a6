"""What is found when a platform has come to rest: in its public API, its database, its broker, its gateway's ledger."""

import asyncio
import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import aio_pika
import asyncpg
import httpx

from broker import topology
from tests.drills.faults.messages import POISON, channel_to
from tests.drills.people import Wish
from tests.drills.scene import Before, Scene
from tests.drills.watching import SERVICES, Watch, look, what_stays
from tests.support.load import Asking, insistently
from tests.support.platform import Platform

_END = "drill.end"
"""The topic of what marks the end of the history; nobody hears it."""
_IDS = "SELECT id::text FROM orders.orders"
_ORDERS = """
SELECT id::text, status, reason, payment->>'status' AS payment, total, lines, history, shipments, refunds
FROM orders.orders WHERE NOT id::text = ANY($1)
"""
_ACCOUNTS = """
SELECT order_id::text, captured, (
    SELECT coalesce(sum(amount), 0)::bigint FROM payments.refunds
    WHERE refunds.order_id = payments.order_id AND status = 'refunded'
) AS refunded
FROM payments.payments WHERE NOT order_id::text = ANY($1)
"""
_WITNESSED = "SELECT topic, aggregate FROM witness.witnessed WHERE NOT aggregate = ANY($1) ORDER BY id"


@dataclass(frozen=True)
class Event:
    """An event as the history keeps it."""

    id: str
    topic: str
    source: str
    aggregate: str
    sequence: int


@dataclass(frozen=True)
class Evidence:
    """All of it. `accounts` has what the payments service believes that was captured and refunded of an order; `heard`
    the topics that a service hears in order, `applied` the last sequence that it applied of (source, aggregate);
    `witnessed` is what a witness wrote down: topic and aggregate; `away` are services that are not present."""

    wishes: Sequence[Wish]
    orders: Mapping[str, Mapping[str, Any]]
    accounts: Mapping[str, tuple[int, int]]
    stock: Mapping[str, tuple[int, int]]
    watch: Watch
    ledger: Sequence[Mapping[str, Any]]
    events: Sequence[Event]
    heard: Mapping[str, set[str]]
    applied: Mapping[tuple[str, str, str], int]
    witnessed: Sequence[tuple[str, str]]
    left: Mapping[str, int]
    dead: Sequence[str]
    poison: set[str]
    away: Sequence[str]
    asking: Asking

    @cached_property
    def money(self) -> Mapping[tuple[str, str], list[int]]:
        """The amounts of the ledger, by order and kind."""
        amounts: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for entry in self.ledger:
            amounts[entry["reference"], entry["kind"]].append(entry["amount"])
        return amounts


async def look_before(platform: Platform) -> Before:
    """What there is already."""
    database = await asyncpg.connect(platform.servers.database, timeout=5)
    try:
        orders = frozenset(row["id"] for row in await database.fetch(_IDS))
    finally:
        await database.close()
    return Before(orders, Counter(await _dead_letters(platform)))


async def gather(scene: Scene, wishes: Sequence[Wish], watch: Watch, staff: httpx.AsyncClient) -> Evidence:
    """Look everywhere, at what was not there before."""
    known = list(scene.before.orders)
    database = await asyncpg.connect(scene.platform.servers.database, timeout=5)
    try:
        await database.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        orders = {row["id"]: dict(row) for row in await database.fetch(_ORDERS, known)}
        accounts = {row[0]: (row[1], row[2]) for row in await database.fetch(_ACCOUNTS, known)}
        heard, applied = await _positions(database)
        witnessed = [(row["topic"], row["aggregate"]) for row in await database.fetch(_WITNESSED, known)]
    finally:
        await database.close()

    def is_new(order_id: str) -> bool:
        return order_id not in scene.before.orders

    return Evidence(
        wishes=wishes,
        orders=orders,
        accounts=accounts,
        stock=await look(scene, watch),
        watch=watch,
        ledger=[entry for entry in await asyncio.to_thread(scene.platform.ledger) if is_new(entry["reference"])],
        events=[event for event in await _history(scene) if is_new(event.aggregate)],
        heard=heard,
        applied=applied,
        witnessed=witnessed,
        left=await what_stays(scene),
        dead=list((Counter(await _dead_letters(scene.platform)) - scene.before.dead).elements()),
        poison=scene.poison,
        away=await _away(scene.platform.pids, staff),
        asking=scene.asking,
    )


async def _positions(database: asyncpg.Connection) -> tuple[dict[str, set[str]], dict[tuple[str, str, str], int]]:
    heard: dict[str, set[str]] = {}
    applied: dict[tuple[str, str, str], int] = {}
    for service in SERVICES:
        heard[service] = {row["topic"] for row in await database.fetch(f"SELECT topic FROM {service}.subscriptions")}
        for row in await database.fetch(f"SELECT source, aggregate, sequence FROM {service}.positions"):
            applied[service, row["source"], row["aggregate"]] = row["sequence"]
    return heard, applied


async def _away(processes: Collection[str], staff: httpx.AsyncClient) -> list[str]:
    """Services of the platform that its edge does not see."""
    page = (await insistently(staff, "GET", "/services")).json()
    states = {service["name"]: service["state"] for service in page["services"]}
    return [name for name in SERVICES if name in processes and states.get(name) != "present"]


async def _history(scene: Scene) -> list[Event]:
    """Every event, from the first on, in the order in which the broker took them, up to one that is said now."""
    events: list[Event] = []
    end = secrets.token_hex(16)
    async with channel_to(scene.platform) as channel:
        await channel.set_qos(prefetch_count=500)
        exchange = await channel.get_exchange(topology.EVENTS, ensure=False)
        await exchange.publish(aio_pika.Message(b"{}", message_id=end), _END)
        queue = await channel.get_queue(topology.EVENT_HISTORY, ensure=False)
        async with queue.iterator(arguments={"x-stream-offset": "first"}, timeout=30) as messages:
            async for message in messages:
                await message.ack()
                if message.message_id == end:
                    return events
                if "sequence" in message.headers and POISON not in message.headers:
                    events.append(_event(message.headers))
    return events


def _event(said: Mapping[str, Any]) -> Event:
    return Event(
        id=str(said["cloudEvents_id"]),
        topic=str(said["cloudEvents_type"]),
        source=str(said["cloudEvents_source"]),
        aggregate=str(said["cloudEvents_subject"]),
        sequence=int(str(said["sequence"])),
    )


async def _dead_letters(platform: Platform) -> list[str]:
    """The names of the poison among them; of anything else where it comes from and why."""
    found: list[str] = []
    async with channel_to(platform) as channel:
        queue = await channel.get_queue(topology.DEAD_LETTERS, ensure=False)
        while (message := await queue.get(fail=False)) is not None:
            said = message.headers
            whose = said.get("queue") or said.get("suspected-topic")
            found.append(str(said.get(POISON) or f"{whose!s}: {said.get('cause')!s}"))
    return found  # unacknowledged: they are still there
