"""A durable message as it came: its CloudEvents identity, its place in its aggregate's order, its failures so far.

Promise: reading one never raises anything but MalformedMessageError; unknown headers are kept when it is passed on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.outbox import Origin

LONGEST_NAME = 512
_LARGEST = 2**63 - 1


class MalformedMessageError(ValueError):
    """The message is not one of ours."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event or a command. `sequence` is None for what needs no order; `predecessors` has, by topic, the last
    sequence before this one and its time in milliseconds; `said_at` is in milliseconds, too; `attempt` counts from
    1."""

    queue: str
    topic: str
    id: str
    source: str
    aggregate: str
    sequence: int | None
    predecessors: Mapping[str, tuple[int, int]]
    said_at: int | None
    attempt: int
    headers: dict[str, Any]
    body: bytes

    @property
    def origin(self) -> Origin:
        """What is said because of this message belongs to the same flow."""
        trace = self.headers.get("traceparent")
        return Origin(str(self.headers.get("correlation-id", self.id)), self.id, None if trace is None else str(trace))


def incoming(queue: str, headers: Mapping[str, Any], body: bytes) -> Incoming:
    """Read a message. Raises MalformedMessageError."""
    kept = {name: value for name, value in headers.items() if not name.startswith("x-")}
    try:
        sequence = _sequence(headers.get("sequence"))
        return Incoming(
            queue=queue,
            topic=_name(headers["cloudEvents_type"]),
            id=_name(headers["cloudEvents_id"]),
            source=_name(headers["cloudEvents_source"]),
            aggregate=_name(headers.get("cloudEvents_subject", "")),
            sequence=sequence,
            predecessors={} if sequence is None else _predecessors(headers.get("predecessors"), sequence),
            said_at=_milliseconds(headers.get("cloudEvents_time")),
            attempt=max(1, int(headers.get("attempt", 1))),
            headers=kept,
            body=body,
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise MalformedMessageError(f"not a CloudEvents message of this platform: {error!r}") from error


def _name(value: Any) -> str:
    """What the inbox keeps as a key. Raises ValueError for what the database can't index."""
    name = str(value)
    if "\0" in name or len(name) > LONGEST_NAME:
        raise ValueError(f"a name of at most {LONGEST_NAME} characters, none of them NUL, is needed: {name[:80]!r}")
    return name


def _sequence(value: Any) -> int | None:
    if value is None:
        return None
    sequence = int(value)
    if not 0 < sequence <= _LARGEST:
        raise ValueError(f"sequences count from 1, not from {sequence}")
    return sequence


def _predecessors(value: Any, sequence: int) -> dict[str, tuple[int, int]]:
    before = {str(topic): (int(seq), int(ms)) for topic, (seq, ms) in json.loads(value or "{}").items()}
    if any(seq >= sequence for seq, _ in before.values()):
        raise ValueError(f"an event can't wait for one that is not before it: {value}")
    return before


def _milliseconds(value: Any) -> int | None:
    return None if value is None else round(datetime.fromisoformat(str(value)).timestamp() * 1000)
