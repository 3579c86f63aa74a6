"""Killing workers in the middle of their work.

Promise: a worker is struck only while it demonstrably publishes: since it was started, rows have left its outbox, and
now rows that were there at the last look still are, so that it may have sent them and not marked them as sent yet. The
longer a strike is due, the fewer rows will do: a machine under other load never shows many.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import asyncpg

from tests.support.database import AWAY
from tests.support.platform import Platform

LOOK_EVERY = 0.004
ROWS_UNDER_WAY = 4


@dataclass
class Victim:
    """A worker as it is seen through its outbox."""

    name: str
    pid: int
    is_back: bool = True
    is_at_work: bool = False
    seen: set[int] = field(default_factory=set)

    def look(self, pid: int | None, rows: set[int], *, enough: int) -> bool:
        """Whether it is in the middle of publishing so many."""
        if pid is not None and pid != self.pid:
            self.pid, self.is_back, self.is_at_work, self.seen = pid, True, False, set()
        self.is_at_work = self.is_at_work or bool(self.seen - rows)
        under_way, self.seen = self.seen & rows, rows
        return self.is_back and self.is_at_work and len(under_way) >= enough


async def strike(
    platform: Platform, *names: str, during: "asyncio.Task[None]", enough: Callable[[Counter[str]], bool]
) -> Counter[str]:
    """Kill these workers again and again, one at a time, until `during` is done or it was `enough`; returns how often
    each was killed, which `enough` is asked with before each kill.

    Each is killed as often as the others: with one that keeps dying the launcher waits longer and longer.
    """
    victims = [Victim(name, platform.pids[name]) for name in names]
    look = " UNION ALL ".join(f"SELECT '{name}' AS service, id FROM {name}.outbox" for name in names)
    kills = Counter(dict.fromkeys(names, 0))
    rows_now = _Look(platform.servers.database, look)
    due_since = time.monotonic()
    try:
        while not during.done():
            found, pids = await rows_now(), platform.pids
            rows = {name: {row["id"] for row in found if row["service"] == name} for name in names}
            few = max(1, ROWS_UNDER_WAY - int(time.monotonic() - due_since))
            busy = [victim for victim in victims if victim.look(pids.get(victim.name), rows[victim.name], enough=few)]
            spared = [victim for victim in busy if kills[victim.name] == min(kills.values())]
            if spared and all(victim.is_back for victim in victims):
                if enough(kills):
                    break
                platform.kill(spared[0].name)
                kills[spared[0].name] += 1
                spared[0].is_back = False
                due_since = time.monotonic()
            await asyncio.sleep(LOOK_EVERY)
    finally:
        await rows_now.close()
    return kills


class _Look:
    """A query that is asked again and again, of a database that may go away meanwhile: then nothing is seen."""

    def __init__(self, database: str, query: str) -> None:
        self._database = database
        self._query = query
        self._connection: asyncpg.Connection | None = None

    async def __call__(self) -> list[asyncpg.Record]:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self._database, timeout=5)
            return list(await self._connection.fetch(self._query))
        except AWAY:
            return []

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
