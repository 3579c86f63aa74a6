"""The outbox: what a transaction says leaves with its commit, or not at all.

Promise: messages become rows in the very transaction that made them; events of one aggregate get a gap-free sequence
under the aggregate's row lock, and carry the last sequence of every topic before them, so that a subscriber who hears
only some of the topics knows which event must come first.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

import asyncpg

from broker import topology
from broker.ids import new_id
from contracts.base import Event, Said

PARTITIONS = 8
"""How many ways the relays of a service can share its outbox."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Why something is said: the flow it belongs to and the message that caused it."""

    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None


def partition_of(aggregate: str) -> int:
    """Which relay's share an aggregate is."""
    return crc32(aggregate.encode()) % PARTITIONS


_LOCK = """
INSERT INTO sequences (aggregate, sequence, topics) VALUES ($1, 0, '{}')
ON CONFLICT (aggregate) DO UPDATE SET aggregate = excluded.aggregate
RETURNING sequence, topics
"""
_NUMBER = "UPDATE sequences SET sequence = $2::bigint, topics = $3::jsonb WHERE aggregate = $1::text"
_RECORD = f"""
WITH numbered AS ({_NUMBER})
INSERT INTO outbox (partition, aggregate, exchange, topic, headers, body)
SELECT partition, aggregate, exchange, topic, headers, body
FROM unnest($4::smallint[], $5::text[], $6::text[], $7::text[], $8::jsonb[], $9::bytea[])
    WITH ORDINALITY AS said (partition, aggregate, exchange, topic, headers, body, place)
ORDER BY place
"""  # noqa: S608 - joined from constants
_Row = tuple[int, str, str, str, str, bytes]
_Last = tuple[str, int, str]


async def record(connection: asyncpg.Connection, service: str, messages: Sequence[Said], origin: Origin) -> set[int]:
    """Write the messages to the outbox, in order; returns the partitions that got any."""
    if not messages:
        return set()
    order, last = await _number(connection, [message for message in messages if isinstance(message, Event)])
    rows = [_row(service, message, origin, order.get(id(message), {})) for message in messages]
    await _write(connection, rows, last)
    return {partition for partition, *_ in rows}


async def send_home(
    connection: asyncpg.Connection, queue: str, aggregate: str, headers: dict[str, Any], body: bytes
) -> int:
    """Write a parked message to the outbox, addressed to its own queue; returns its partition."""
    home = topology.way_home("parked", queue)
    partition = partition_of(aggregate)
    await _write(connection, [(partition, aggregate, topology.RETURNS, home, json.dumps(headers), body)], [])
    return partition


async def _write(connection: asyncpg.Connection, rows: Sequence[_Row], last: Sequence[_Last]) -> None:
    for several in last[1:]:
        await connection.execute(_NUMBER, *several)
    columns = [list(column) for column in zip(*rows, strict=True)]
    await connection.execute(_RECORD, *(last[0] if last else (None, None, None)), *columns)


async def _number(
    connection: asyncpg.Connection, events: Sequence[Event]
) -> tuple[dict[int, dict[str, Any]], list[_Last]]:
    """The sequence headers of each event, by the event's identity; and the last sequence of each aggregate."""
    headers: dict[int, dict[str, Any]] = {}
    last: list[_Last] = []
    # Sorted, because two transactions that lock the same aggregates in different order would wait for each other.
    for aggregate in sorted({event.aggregate for event in events}):
        ((sequence, topics),) = await connection.fetch(_LOCK, aggregate)
        now = _now()
        for event in events:
            if event.aggregate == aggregate:
                sequence += 1
                order = {"sequence": sequence, "predecessors": json.dumps(topics)}
                headers[id(event)] = {**order, "cloudEvents_time": _text(now)}
                topics = {**topics, event.topic: [sequence, round(now.timestamp() * 1000)]}
        last.append((aggregate, sequence, json.dumps(topics)))
    return headers, last


def _now() -> datetime:
    """The time as exactly as the headers tell it: who joins now must see an event on one side of now only."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def envelope(service: str, message: Said, origin: Origin) -> dict[str, Any]:
    """The headers of a message: CloudEvents 1.0 (its AMQP binding's names) and what it belongs to."""
    headers = {
        "cloudEvents_id": str(new_id()),
        "cloudEvents_specversion": "1.0",
        "cloudEvents_type": message.topic,
        "cloudEvents_source": f"/{service}",
        "cloudEvents_time": _text(_now()),
        "cloudEvents_subject": message.aggregate,
        "correlation-id": origin.correlation_id,
        "causation-id": origin.causation_id,
        "traceparent": origin.traceparent,
    }
    return {name: value for name, value in headers.items() if value is not None}


def _row(service: str, message: Said, origin: Origin, order: dict[str, Any]) -> _Row:
    exchange = topology.EVENTS if isinstance(message, Event) else topology.COMMANDS
    headers = json.dumps({**envelope(service, message, origin), **order})
    body = message.model_dump_json().encode()
    return partition_of(message.aggregate), message.aggregate, exchange, message.topic, headers, body
