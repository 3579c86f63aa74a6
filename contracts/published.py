"""Every message of the platform's own services, and its JSON Schema as it is published under contracts/schemas/.

Promise: one file a topic, so that a change of the wire shows in review as a change of a file.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from contracts import catalog, orders, payments, presence, users
from contracts.base import Message, Operation, Said
from contracts.presence import Saying

FOLDER = Path(__file__).parent / "schemas"
_ROOMS = (users, catalog, orders, payments, presence)


def messages() -> dict[str, type[Message]]:
    """Every message that has a topic, by topic."""
    kinds = (kind for room in _ROOMS for kind in vars(room).values() if isinstance(kind, type))
    return {topic_of(kind): kind for kind in kinds if issubclass(kind, Message) and topic_of(kind)}


def topic_of(kind: type[Message]) -> str:
    """The topic of a kind of message; empty for one that is only a part of others."""
    topic = getattr(kind, "topic", "")
    return topic if isinstance(topic, str) else ""


def document(kind: type[Message]) -> dict[str, Any]:
    """What is published of a message: its schema and, for an operation, its reply's and its refusals."""
    if not issubclass(kind, Operation):
        return {"kind": "said" if issubclass(kind, Said) else "presence", "message": kind.model_json_schema()}
    return {
        "kind": "operation",
        "request": kind.model_json_schema(),
        "reply": TypeAdapter(kind.reply_type()).json_schema(mode="serialization"),
        "refusals": [refusal.model_dump() for refusal in kind.refusals],
    }


@cache
def sayings() -> tuple[Saying, ...]:
    """Every event and command of the platform's own services."""
    return tuple(Saying.of(kind) for kind in messages().values() if issubclass(kind, Said))


def files() -> dict[str, str]:
    """The text of every file in contracts/schemas/, by name."""
    return {
        f"{topic}.json": json.dumps(document(kind), indent=2, sort_keys=True) + "\n"
        for topic, kind in messages().items()
    }
