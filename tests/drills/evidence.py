"""What is found when a platform has come to rest: in its public API, its database, its broker, its gateway's ledger."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import asyncpg

from broker import topology
from tests.drills.faults.messages import POISON, channel_to
from tests.drills.scene import Scene
from tests.support.load import Asking, Wish

SERVICES = ("users", "catalog", "orders", "payments", "witness")
_PRIVATE = {topology.DEAD_LETTERS, topology.EVENT_HISTORY, topology.MANIFESTS}
"""Queues that keep what they have."""
_ORDERS = "SELECT id::text, status, reason, payment->>'status' AS payment, total, lines, refunds FROM orders.orders"
_WITNESSED = "SELECT topic, aggregate FROM witness.witnessed ORDER BY id"
_STOCK = "SELECT sku, on_hand, reserved FROM catalog.stock WHERE sku = ANY($1)"


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
    """All of it. `lowest` is the least that was available of a product at any look; `heard` has the topics that a
    service hears in order, `applied` the last sequence that it applied of (source, aggregate); `witnessed` is what a
    witness wrote down: topic and aggregate."""

    wishes: Sequence[Wish]
    orders: Mapping[str, Mapping[str, Any]]
    given: Mapping[str, int]
    stock: Mapping[str, tuple[int, int]]
    lowest: Mapping[str, int]
    ledger: Sequence[Mapping[str, Any]]
    events: Sequence[Event]
    heard: Mapping[str, set[str]]
    applied: Mapping[tuple[str, str, str], int]
    witnessed: Sequence[tuple[str, str]]
    left: Mapping[str, int]
    dead: Sequence[str]
    poison: set[str]
    asking: Asking

    @cached_property
    def money(self) -> Mapping[tuple[str, str], list[int]]:
        """The amounts of the ledger, by order and kind."""
        amounts: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for entry in self.ledger:
            amounts[entry["reference"], entry["kind"]].append(entry["amount"])
        return amounts


async def watch_stock(scene: Scene, lowest: dict[str, int]) -> None:
    """Look at the stock again and again, until the load is over, and remember the least that was available."""
    while not scene.is_over:
        try:
            for sku, (on_hand, reserved) in (await stock_of(scene, list(lowest))).items():
                lowest[sku] = min(lowest[sku], on_hand - reserved, reserved, on_hand)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.05)


async def stock_of(scene: Scene, skus: list[str]) -> dict[str, tuple[int, int]]:
    """How many are on hand, and how many of them are reserved."""
    database = await asyncpg.connect(scene.platform.servers.database, timeout=5)
    try:
        return {row["sku"]: (row["on_hand"], row["reserved"]) for row in await database.fetch(_STOCK, skus)}
    finally:
        await database.close()


async def what_is_left(scene: Scene) -> dict[str, int]:
    """What has still to be done: rows of outboxes and parking places, messages of queues."""
    database = await asyncpg.connect(scene.platform.servers.database, timeout=5)
    try:
        tables = [f"{service}.{table}" for service in SERVICES for table in ("outbox", "parked")]
        counts = " UNION ALL ".join(f"SELECT '{table}' AS name, count(*) FROM {table}" for table in tables)
        left = {row["name"]: int(row["count"]) for row in await database.fetch(counts)}
    finally:
        await database.close()
    for queue in await asyncio.to_thread(scene.platform.broker, "queues"):
        if queue["name"] not in _PRIVATE:
            left[queue["name"]] = int(queue.get("messages", 1))  # a queue that is just back does not say
    return {name: count for name, count in left.items() if count}


async def gather(scene: Scene, wishes: Sequence[Wish], given: Mapping[str, int], lowest: Mapping[str, int]) -> Evidence:
    """Look everywhere."""
    database = await asyncpg.connect(scene.platform.servers.database, timeout=5)
    try:
        await database.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        orders = {row["id"]: dict(row) for row in await database.fetch(_ORDERS)}
        heard, applied = await _positions(database)
        witnessed = [(row["topic"], row["aggregate"]) for row in await database.fetch(_WITNESSED)]
    finally:
        await database.close()
    return Evidence(
        wishes=wishes,
        orders={wish.order["id"]: orders.pop(wish.order["id"]) for wish in wishes if wish.order["id"] in orders}
        | orders,
        given=given,
        stock=await stock_of(scene, list(given)),
        lowest=lowest,
        ledger=await asyncio.to_thread(scene.platform.ledger),
        events=await _history(scene),
        heard=heard,
        applied=applied,
        witnessed=witnessed,
        left=await what_is_left(scene),
        dead=await _dead_letters(scene),
        poison=scene.poison,
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


async def _history(scene: Scene) -> list[Event]:
    """Every event, from the first on, in the order in which the broker took them."""
    events: list[Event] = []
    async with channel_to(scene) as channel:
        await channel.set_qos(prefetch_count=500)
        queue = await channel.get_queue(topology.EVENT_HISTORY, ensure=False)
        async with queue.iterator(arguments={"x-stream-offset": "first"}, timeout=3) as messages:
            try:
                async for message in messages:
                    await message.ack()
                    said = message.headers
                    if "sequence" in said and POISON not in said:
                        events.append(
                            Event(
                                id=str(said["cloudEvents_id"]),
                                topic=str(said["cloudEvents_type"]),
                                source=str(said["cloudEvents_source"]),
                                aggregate=str(said["cloudEvents_subject"]),
                                sequence=int(str(said["sequence"])),
                            )
                        )
            except TimeoutError:
                return events
    return events


async def _dead_letters(scene: Scene) -> list[str]:
    """The names of the poison among them; of anything else where it comes from and why."""
    found: list[str] = []
    async with channel_to(scene) as channel:
        queue = await channel.get_queue(topology.DEAD_LETTERS, ensure=False)
        while (message := await queue.get(fail=False)) is not None:
            said = message.headers
            found.append(str(said.get(POISON) or f"{said.get('queue')!s}: {said.get('cause')!s}"))
    return found  # unacknowledged: they are still there
