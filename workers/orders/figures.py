"""What the orders service measures of its sagas.

Promise: each look costs a few rows found by an index, however many orders there are.
"""

from datetime import UTC, datetime

from prometheus_client import Histogram

from broker.reader import Reader
from contracts.orders import Status
from workers.orders.rules import OPEN, Saga

_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
SECONDS = Histogram(
    "hedgerow_order_seconds", "From placing an order until its saga left it so.", ["status"], buckets=_BUCKETS
)
COUNTED = 10_000
_OPEN = """
SELECT status, (SELECT count(*) FROM (SELECT FROM orders o WHERE o.status = asked.status LIMIT $2) AS counted)
FROM unnest($1::text[]) AS asked (status)
"""
_OLDEST = """
SELECT status, (
    SELECT extract(epoch FROM now() - placed_at) FROM orders o WHERE o.status = asked.status ORDER BY id LIMIT 1
) FROM unnest($1::text[]) AS asked (status)
"""
_OVERDUE = "SELECT extract(epoch FROM now() - due_at) FROM orders WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1"
_TOLD: frozenset[Status] = frozenset({"confirmed", "rejected"})


def note(before: Saga, after: Saga, placed_at: datetime) -> None:
    """Take the time of an order that is confirmed or rejected now. A transaction that the database breaks off counts
    twice."""
    if after.status != before.status and after.status in _TOLD:
        SECONDS.labels(after.status).observe((datetime.now(UTC) - placed_at).total_seconds())


async def count_open(reader: Reader) -> dict[str, float]:
    """How many orders are under way, at most COUNTED, by status."""
    return {status: float(count) for status, count in await reader.fetch(_OPEN, sorted(OPEN), COUNTED)}


async def age_of_the_oldest(reader: Reader) -> dict[str, float]:
    """Seconds since the oldest order in each status was placed; 0 where there is none."""
    return {status: float(age or 0) for status, age in await reader.fetch(_OLDEST, sorted(OPEN))}


async def overdue(reader: Reader) -> float:
    """For how many seconds an order should have stopped waiting."""
    row = await reader.fetchrow(_OVERDUE)
    return max(0.0, float(row[0])) if row is not None else 0.0
