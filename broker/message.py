"""A durable message as it came: its CloudEvents identity, its place in its aggregate's order, its failures so far.

Promise: reading one never raises anything but MalformedMessageError; unknown headers are kept when it is passed on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.outbox import Origin


class MalformedMessageError(ValueError):
    """The message is not one of ours."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event or a command. `sequence` is None for what needs no order; `predecessors` has, by topic, the last sequence
    before this one and its time in milliseconds; `attempt` counts from 1."""

    queue: str
    topic: str
    id: str
    source: str
    aggregate: str
    sequence: int | None
    predecessors: Mapping[str, tuple[int, int]]
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
        sequence = headers.get("sequence")
        return Incoming(
            queue=queue,
            topic=str(headers["cloudEvents_type"]),
            id=str(headers["cloudEvents_id"]),
            source=str(headers["cloudEvents_source"]),
            aggregate=str(headers.get("cloudEvents_subject", "")),
            sequence=None if sequence is None else int(sequence),
            predecessors=_predecessors(headers.get("predecessors")),
            attempt=int(headers.get("attempt", 1)),
            headers=kept,
            body=body,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedMessageError(f"not a CloudEvents message of this platform: {error!r}") from error


def _predecessors(value: Any) -> dict[str, tuple[int, int]]:
    return {str(topic): (int(seq), int(ms)) for topic, (seq, ms) in json.loads(value or "{}").items()}
