"""The relay: carries the outbox to the broker.

Promise: every committed row is published and confirmed at least once; rows of one aggregate leave in the order they
were written, one at a time, however many relays run, because each partition has one holder (an advisory lock on a
connection of the relay's own); a row that the broker refuses waits with back-off and holds up its own aggregate only.
The committing process wakes its relay; a notification wakes the others; the poll is the guarantee. Whoever has the lock
`HOLD` (a backup, for seconds) holds all relays back.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from zlib import crc32

import asyncpg

from broker.outbox import PARTITIONS
from broker.publisher import ChannelLostError, Publisher, PublishRefusedError
from broker.reconnecting import BrokerAwayError
from broker.telemetry import PUBLISHED, REFUSED_ROWS, log
from broker.topology import COMMANDS, EVENTS, RETURNS

POLL = 0.5
SHARE_EVERY = 2.0
BATCH = 200
_MEMBERS = 1000
"""The advisory lock that every relay of a service shares: how many hold it is how many there are."""
_ROWS, _SHARE = "rows", "share"
"""What relays tell each other: there are rows for somebody, there are partitions (or relays) to share."""

HOLD = (crc32(b"hedgerow relays") - 2**31, 1001)
"""The advisory lock that holds back the relays of all services: what is said then waits in the outbox."""
_WAITING = """
SELECT id, aggregate, exchange, topic, headers, body, attempts FROM outbox o
WHERE partition = ANY($1) AND (not_before IS NULL OR not_before <= now())
  AND NOT EXISTS (SELECT 1 FROM outbox b WHERE b.aggregate = o.aggregate AND b.id < o.id AND b.not_before > now())
  AND (SELECT pg_try_advisory_xact_lock_shared($3, $4))
ORDER BY id LIMIT $2
"""
_MEMBER_COUNT = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid::bigint = $1 AND objid::bigint = $2
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_REFUSED = """
UPDATE outbox SET attempts = attempts + 1, error = $2,
  not_before = now() + interval '1 second' * least(60, 0.2 * power(2, least(attempts, 10))) WHERE id = $1
"""

_published, _refused = cache(PUBLISHED.labels), cache(REFUSED_ROWS.labels)
for _exchange in (COMMANDS, EVENTS, RETURNS):
    _published(_exchange)
    _refused(_exchange)

Published = tuple[list[int], tuple[int, str] | None]
"""The ids of the rows of one aggregate that went, and the one that was refused, with the reason."""


class Relay:
    """Publishes one service's outbox, together with the relays of its other instances."""

    def __init__(self, service: str, database_url: str, publisher: Publisher) -> None:
        self._service = service
        self._url = database_url
        self._publisher = publisher
        self._lock_class = crc32(f"relay {service}".encode())
        self._channel = f"outbox_{service}"[:63]  # PostgreSQL's names are no longer
        self._held: set[int] = set()
        self._wake = asyncio.Event()
        self._tell_others = False
        self._one_by_one = False
        self._share_at = 0.0

    def wake(self, partitions: set[int]) -> None:
        """Rows of these partitions were committed."""
        if not partitions <= self._held:
            self._tell_others = True
        self._wake.set()

    async def run_forever(self) -> None:
        """Relay until cancelled, over every loss of the database or the broker."""
        said = False
        while True:
            try:
                await self._work()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not said:
                    log.warning("the relay lost the database, trying on", error=error)
                said = True
            except Exception:
                log.exception("the relay failed, trying on")
            await asyncio.sleep(0.5)

    async def _work(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=5, command_timeout=30)
        try:
            await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
            await connection.add_listener(self._channel, self._notified)
            await connection.execute(f"SELECT pg_advisory_lock_shared({_signed(self._lock_class)}, {_MEMBERS})")
            await self._tell(connection, _SHARE)
            while True:
                if asyncio.get_running_loop().time() >= self._share_at:
                    self._share_at = asyncio.get_running_loop().time() + SHARE_EVERY
                    await self._share(connection)
                if not await self._flush(connection) and not self._one_by_one:
                    await self._rest(connection)
        finally:
            self._held.clear()
            with contextlib.suppress(Exception):
                await connection.execute("SELECT pg_advisory_unlock_all()", timeout=1)
                await self._tell(connection, _SHARE)
            with contextlib.suppress(Exception):
                await connection.close(timeout=2)

    def _notified(self, _: object, __: int, ___: str, payload: object) -> None:
        if payload == _SHARE:
            self._share_at = 0.0
        self._wake.set()

    async def _tell(self, connection: asyncpg.Connection, what: str) -> None:
        await connection.execute("SELECT pg_notify($1, $2)", self._channel, what, timeout=2)

    async def _share(self, connection: asyncpg.Connection) -> None:
        """Hold no more than our share of the partitions, and take free ones up to it."""
        members = await connection.fetchval(_MEMBER_COUNT, self._lock_class, _MEMBERS)
        share = -(-PARTITIONS // max(1, members))
        spare = sorted(self._held, reverse=True)[: max(0, len(self._held) - share)]
        for partition in spare:
            self._held.discard(partition)
            await connection.execute(f"SELECT pg_advisory_unlock({_signed(self._lock_class)}, {partition})")
        if spare:
            await self._tell(connection, _SHARE)
        for partition in range(PARTITIONS):
            if len(self._held) < share and partition not in self._held:
                lock = f"SELECT pg_try_advisory_lock({_signed(self._lock_class)}, {partition})"
                if await connection.fetchval(lock):
                    self._held.add(partition)

    async def _flush(self, connection: asyncpg.Connection) -> bool:
        """Publish a batch; returns whether rows went and more may be waiting that nobody wakes us for."""
        if not self._publisher.link.is_up or not self._held:
            return False
        rows = await connection.fetch(_WAITING, sorted(self._held), BATCH, *HOLD)
        if not rows:
            return False
        by_aggregate = sorted(rows, key=lambda row: (row["aggregate"], row["id"]))
        chains = [list(chain) for _, chain in groupby(by_aggregate, key=lambda row: row["aggregate"])]
        # In the order of their first rows, so that what was committed first is published first.
        chains.sort(key=lambda chain: chain[0]["id"])
        results = await self._publish_all(chains)
        sent = [row_id for published, _ in results for row_id in published]
        if sent:
            await connection.execute("DELETE FROM outbox WHERE id = ANY($1)", sent)
        for _, refused in results:
            if refused is not None:
                await connection.execute(_REFUSED, *refused)
        return bool(sent) and len(rows) == BATCH

    async def _publish_all(self, chains: Sequence[Sequence[asyncpg.Record]]) -> list[Published]:
        """Publish the chains side by side; but one by one those that begin with a row that was refused before, and all
        after the broker has closed the channel, to find the row that it closed it over."""
        doubtful = [self._one_by_one or chain[0]["attempts"] > 0 for chain in chains]
        self._one_by_one = False
        results = await asyncio.gather(
            *(self._publish(chain) for chain, doubt in zip(chains, doubtful, strict=True) if not doubt)
        )
        alone = [chain for chain, doubt in zip(chains, doubtful, strict=True) if doubt]
        return results + [await self._publish(chain, alone=True) for chain in alone]

    async def _publish(self, chain: Sequence[asyncpg.Record], *, alone: bool = False) -> Published:
        """Publish one aggregate's rows in order, up to the first that is refused."""
        sent: list[int] = []
        for row in chain:
            exchange = row["exchange"]
            try:
                # Every event goes to the history, so `mandatory` would say nothing about events.
                await self._publisher.publish(
                    exchange, row["topic"], row["body"], row["headers"], mandatory=exchange in (COMMANDS, RETURNS)
                )
            except (PublishRefusedError, ChannelLostError) as error:
                if isinstance(error, ChannelLostError) and not alone:
                    self._one_by_one = True
                    break
                _refused(exchange).inc()
                log.warning("the broker refused a message, it waits", topic=row["topic"], error=error)
                return sent, (row["id"], str(error)[:1000])
            except BrokerAwayError:
                break
            _published(exchange).inc()
            sent.append(row["id"])
        return sent, None

    async def _rest(self, connection: asyncpg.Connection) -> None:
        if self._tell_others:
            self._tell_others = False
            await self._tell(connection, _ROWS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await self._wake.wait()
        self._wake.clear()


def _signed(number: int) -> int:
    """Advisory locks take signed 32-bit integers."""
    return number - 2**32 if number >= 2**31 else number
