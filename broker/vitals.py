"""What a running service tells of itself when it is asked.

Promise: a look costs the database single rows found by an index, and counts no further than `COUNTED`; all instances of
a service tell the same of its tables.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from broker.gauges import Found, Gauge, known, of_the_lane
from broker.injection import pick
from broker.lane.repeating import Carried
from broker.liveness import Liveness
from broker.reader import Reader
from broker.reconnecting import Reconnecting
from broker.service import Measure, Service
from broker.transaction import Database

COUNTED = 10_000
_ROWS = "SELECT count(*) FROM (SELECT FROM {table} LIMIT {counted}) AS counted"
_OUTBOX_AGE = "SELECT extract(epoch FROM now() - created_at) FROM outbox ORDER BY id LIMIT 1"
_PARKED_AGE = (
    "SELECT extract(epoch FROM now() - min(parked_at)) FROM (SELECT parked_at FROM parked LIMIT {counted}) AS kept"
)


def vitals(
    service: Service,
    database: Database | None,
    *,
    requester: Carried,
    liveness: Liveness,
    links: Mapping[str, Reconnecting[Any]],
) -> Iterator[Gauge]:
    """The gauges of one running service."""
    yield from of_the_lane(requester, links)
    yield known("hedgerow_in_progress", "Messages that are being worked on.", liveness.in_progress, "queue")
    yield known("hedgerow_unconsumed_seconds", "Since the last proof that a queue is consumed.", liveness.ages, "queue")
    if database is not None:
        yield from _of_the_database(database)
    given = {**service.provided, Reader: None if database is None else database.reader}
    yield from (_measured(measure, given) for measure in service.measured)


def _of_the_database(database: Database) -> Iterator[Gauge]:
    reader = database.reader
    for name, meaning, at in (
        ("hedgerow_pool_busy", "Database connections in use.", 0),
        ("hedgerow_pool_size", "Database connections that may be in use at once.", 1),
    ):
        yield known(name, meaning, partial(_pools, database, at), "pool")
    for name, meaning, statement in (
        ("hedgerow_outbox_rows", f"Messages that wait for the relay, at most {COUNTED}.", _count("outbox")),
        ("hedgerow_outbox_age_seconds", "Since the oldest of them was committed.", _OUTBOX_AGE),
        ("hedgerow_parked_rows", f"Events that wait for their predecessor, at most {COUNTED}.", _count("parked")),
        ("hedgerow_parked_age_seconds", "Since the oldest of them came.", _PARKED_AGE.format(counted=COUNTED)),
    ):
        yield Gauge(name, meaning, partial(_one, reader, statement))


def _count(table: str) -> str:
    return _ROWS.format(table=table, counted=COUNTED)


def _pools(database: Database, at: int) -> dict[str, float]:
    return {name: float(figures[at]) for name, figures in database.pools.items()}


async def _one(reader: Reader, statement: str) -> float:
    """The only figure of the only row; 0 where there is none."""
    row = await reader.fetchrow(statement)
    return float(row[0] or 0) if row is not None else 0.0


def _measured(measure: Measure, given: Mapping[Any, Any]) -> Gauge:
    async def look() -> Found:
        found: Found = await measure.handler(**pick(measure.wants, given))
        return found

    return Gauge(measure.name, measure.meaning, look, measure.label)
