"""What an order consists of, and the least that this must cost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import uuid4

import asyncpg
import httpx
import psutil

from tests.bench.costs import Meter
from tests.bench.ground import Ground

SETTLED_AFTER_SECONDS = 7.0
"""RabbitMQ counts what it carries every five seconds, and PostgreSQL what it commits every second."""
COMMITS, CONNECTIONS = 2000, 8
_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


class Traffic(NamedTuple):
    """Commits at PostgreSQL and messages published at RabbitMQ, so far or for one order."""

    commits: float
    messages: float


async def traffic_of(here: Ground, place: Callable[[], Awaitable[int]]) -> Traffic:
    """What one order takes, without what the platform does anyway."""
    (first, began), (before, idle_until) = [await _settled(here) for _ in range(2)]
    placed = await place()
    after, ended = await _settled(here)
    share = (ended - idle_until) / (idle_until - began)
    counted = zip(first, before, after, strict=True)
    return Traffic(*((late - early - (early - idle) * share) / placed for idle, early, late in counted))


async def bare_commit(here: Ground) -> float:
    """Core-ms of a transaction that inserts one row and does nothing else, at PostgreSQL and at who asks."""
    url = str(here.runtime["database"])
    async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        await pool.execute("CREATE TABLE bare_commits (id uuid PRIMARY KEY, body text NOT NULL)")

        async def commit(times: int) -> None:
            for _ in range(times):
                async with pool.acquire() as connection, connection.transaction():
                    await connection.execute("INSERT INTO bare_commits VALUES ($1, $2)", uuid4(), "x" * 500)

        await commit(100)
        meter = Meter({"both": [psutil.Process(), *here.family("postgresql")]})
        await asyncio.gather(*(commit(COMMITS // CONNECTIONS) for _ in range(CONNECTIONS)))
        cost = meter.each(COMMITS, unit=1e-3)["both"]
        await pool.execute("DROP TABLE bare_commits")
    return cost


async def _settled(here: Ground) -> tuple[Traffic, float]:
    """The traffic so far, and when that was."""
    await asyncio.sleep(SETTLED_AFTER_SECONDS)
    database = await asyncpg.connect(str(here.runtime["database"]))
    try:
        commits = await database.fetchval(_COMMITS)
    finally:
        await database.close()
    async with httpx.AsyncClient(trust_env=False) as client:
        told = (await client.get(f"{here.runtime['rabbitmq_management']}/api/overview")).json()
    return Traffic(commits, told["message_stats"]["publish"]), time.monotonic()
