"""Looks at a platform while it works: at its stock, again and again, and in the end at what is left to do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from broker import topology
from tests.drills.scene import Scene
from tests.support.database import AWAY
from tests.support.eventually import eventually

SERVICES = ("users", "catalog", "orders", "payments", "witness")
PRIVATE = {topology.DEAD_LETTERS, topology.EVENT_HISTORY, topology.MANIFESTS}
"""Queues that keep what they have."""
QUIET_WITHIN = 150.0
LOOKS = 2
STATISTICS_EVERY = 5.5
"""The broker gathers its figures every five seconds: emptiness is believed when it was seen twice, this far apart."""
_STOCK = """
SELECT sku, on_hand, reserved,
    (SELECT coalesce(sum((items->>sku)::int), 0) FROM catalog.reservations WHERE state = 'reserved') AS promised,
    (SELECT coalesce(sum((items->>sku)::int), 0) FROM catalog.reservations WHERE state = 'committed') AS sold
FROM catalog.stock WHERE sku = ANY($1)
"""
_LEFT = " UNION ALL ".join(
    (
        *(
            f"SELECT '{service}.{table}' AS name, count(*) FROM {service}.{table} WHERE $1::text[] IS NOT NULL"
            for service in SERVICES
            for table in ("outbox", "parked")
        ),
        """SELECT 'orders that wait', count(*) FROM orders.orders WHERE NOT id::text = ANY($1) AND
           (status IN ('placed', 'reserved', 'awaiting-customer', 'authorised') OR refunds @> '[{"status": "pending"}]')
        """,
        """SELECT 'payments to look into', count(*) FROM payments.payments
           WHERE check_at IS NOT NULL AND NOT order_id::text = ANY($1)""",
        """SELECT 'differences to heal', count(*) FROM payments.audits
           WHERE done IS NULL AND NOT coalesce(order_id::text, '') = ANY($1)""",
    )
)


@dataclass
class Watch:
    """What was seen of the products, of which so many were given: the least that was available of each at any look, and
    the looks at which sold, available and reserved were not what was given."""

    given: Mapping[str, int]
    lowest: dict[str, int] = field(default_factory=dict)
    drifts: list[str] = field(default_factory=list)
    looks: int = 0

    def see(self, sku: str, on_hand: int, reserved: int, promised: int, sold: int) -> None:
        """One product at one moment."""
        self.looks += 1
        available = on_hand - reserved
        self.lowest[sku] = min(self.lowest.get(sku, available), available, reserved, on_hand)
        if (on_hand + sold, reserved) != (self.given[sku], promised):
            seen = f"{sold} were sold, {promised} promised, {on_hand} on hand, {reserved} reserved"
            self.drifts.append(f"of {self.given[sku]} {sku}, {seen}")


async def watch_stock(scene: Scene, watch: Watch) -> None:
    """Look at the stock again and again, until the load is over."""
    while not scene.is_over:
        with contextlib.suppress(*AWAY):
            async with _database(scene) as database:
                while not scene.is_over:
                    await _look(database, watch)
                    await scene.pause(0.1, 0.1)
        await scene.pause(0.2, 0.2)


async def look(scene: Scene, watch: Watch) -> dict[str, tuple[int, int]]:
    """See what is on hand of each product, and how many of that are reserved."""
    async with _database(scene) as database:
        return await _look(database, watch)


async def _look(database: asyncpg.Connection, watch: Watch) -> dict[str, tuple[int, int]]:
    rows = await database.fetch(_STOCK, list(watch.given))
    for row in rows:
        watch.see(*row)
    return {row["sku"]: (row["on_hand"], row["reserved"]) for row in rows}


async def what_is_left(scene: Scene) -> dict[str, int]:
    """What has still to be done: rows of outboxes and parking places, orders and payments that wait, messages of
    queues, webhooks."""
    async with _database(scene) as database:
        left = {row["name"]: int(row["count"]) for row in await database.fetch(_LEFT, list(scene.before.orders))}
    for queue in await asyncio.to_thread(scene.platform.broker, "queues"):
        if queue["name"] not in PRIVATE:
            left[queue["name"]] = int(queue.get("messages", 1))  # a queue that is just back does not say
    left["webhooks"] = (await asyncio.to_thread(scene.platform.gateway, "GET", "webhooks"))["waiting"]
    if not any(left.values()):
        left["holds"] = _holds(await asyncio.to_thread(scene.platform.ledger))
    return {name: count for name, count in left.items() if count}


def _holds(ledger: Iterable[Mapping[str, Any]]) -> int:
    """How many payments are held that are neither taken nor let go, as they may be until the books are compared."""
    kinds = [entry["kind"] for entry in ledger]
    return kinds.count("authorised") - kinds.count("captured") - kinds.count("voided")


@asynccontextmanager
async def _database(scene: Scene) -> AsyncIterator[asyncpg.Connection]:
    database = await asyncpg.connect(scene.platform.servers.database, timeout=5)
    try:
        yield database
    finally:
        await database.close()


async def what_stays(scene: Scene) -> dict[str, int]:
    """What is left each time that somebody looks: services probe their idle queues, and a probe is a message."""
    left = await what_is_left(scene)
    for _ in range(LOOKS):
        if left:
            await asyncio.sleep(STATISTICS_EVERY)
            left = {name: count for name, count in (await what_is_left(scene)).items() if name in left}
    return left


async def come_to_rest(scene: Scene) -> None:
    """Wait until nothing is left to do, or until it is clear that something always will be."""

    async def is_quiet() -> bool:
        try:
            assert await what_is_left(scene) == {}
        except AWAY as error:
            raise AssertionError from error
        return True

    try:
        await eventually(is_quiet, within=QUIET_WITHIN, every=0.5)
        await asyncio.sleep(STATISTICS_EVERY)
        await eventually(is_quiet, within=QUIET_WITHIN, every=0.5)
    except AssertionError:
        return  # an invariant says what is left
