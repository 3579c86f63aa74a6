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

from sqlalchemy import insert, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from broker import topology
from broker.ids import new_id
from broker.tables import OutboxRow, SequenceRow
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


async def record(session: AsyncSession, service: str, messages: Sequence[Said], origin: Origin) -> set[int]:
    """Write the messages to the outbox, in order; returns the partitions that got any."""
    numbered = await _number(session, [message for message in messages if isinstance(message, Event)])
    rows = [_row(service, message, origin, numbered.get(id(message), {})) for message in messages]
    if rows:
        await session.execute(insert(OutboxRow), rows)
    return {row["partition"] for row in rows}


async def send_home(session: AsyncSession, queue: str, aggregate: str, headers: dict[str, Any], body: bytes) -> int:
    """Write a parked message to the outbox, addressed to its own queue; returns its partition."""
    row = {
        "partition": partition_of(aggregate),
        "aggregate": aggregate,
        "exchange": topology.RETURNS,
        "topic": topology.way_home("parked", queue),
        "headers": headers,
        "body": body,
    }
    await session.execute(insert(OutboxRow), [row])
    return partition_of(aggregate)


async def _number(session: AsyncSession, events: Sequence[Event]) -> dict[int, dict[str, Any]]:
    """The sequence headers of each event, by the event's identity."""
    headers: dict[int, dict[str, Any]] = {}
    # Sorted, because two transactions that lock the same aggregates in different order would wait for each other.
    for aggregate in sorted({event.aggregate for event in events}):
        sequence, topics = await _lock(session, aggregate)
        now = _now()
        for event in events:
            if event.aggregate == aggregate:
                sequence += 1
                order = {"sequence": sequence, "predecessors": json.dumps(topics)}
                headers[id(event)] = {**order, "cloudEvents_time": _text(now)}
                topics = {**topics, event.topic: [sequence, round(now.timestamp() * 1000)]}
        await session.execute(
            update(SequenceRow).where(_aggregate == aggregate).values(sequence=sequence, topics=topics)
        )
    return headers


_aggregate = SequenceRow.__table__.c.aggregate  # type: ignore[attr-defined]


async def _lock(session: AsyncSession, aggregate: str) -> tuple[int, dict[str, list[int]]]:
    statement = (
        upsert(SequenceRow)
        .values(aggregate=aggregate, sequence=0, topics={})
        .on_conflict_do_update(index_elements=["aggregate"], set_={"aggregate": aggregate})
        .returning(SequenceRow.sequence, SequenceRow.topics)  # type: ignore[call-overload]
    )
    row = (await session.execute(statement)).one()
    return row.sequence, row.topics


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


def _row(service: str, message: Said, origin: Origin, order: dict[str, Any]) -> dict[str, Any]:
    return {
        "partition": partition_of(message.aggregate),
        "aggregate": message.aggregate,
        "exchange": topology.EVENTS if isinstance(message, Event) else topology.COMMANDS,
        "topic": message.topic,
        "headers": {**envelope(service, message, origin), **order},
        "body": message.model_dump_json().encode(),
    }
