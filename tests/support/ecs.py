"""The Elastic Common Schema as published: the types of the fields that this platform may use.

From https://www.elastic.co/guide/en/ecs/8.11/ecs-field-reference.html; names may be written with dots.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

TYPES = {
    "@timestamp": "date",
    "ecs.version": "keyword",
    "error.message": "match_only_text",
    "error.stack_trace": "wildcard",
    "error.type": "keyword",
    "event.duration": "long",
    "event.id": "keyword",
    "http.request.id": "keyword",
    "http.request.method": "keyword",
    "http.response.status_code": "long",
    "labels": "object",
    "log.level": "keyword",
    "log.logger": "keyword",
    "message": "match_only_text",
    "service.name": "keyword",
    "service.node.name": "keyword",
    "service.version": "keyword",
    "trace.id": "keyword",
    "url.full": "wildcard",
    "user.id": "keyword",
}
NEEDED = ("@timestamp", "ecs.version", "log.level", "message", "service.name")
_TEXT = ("keyword", "wildcard", "match_only_text")


def breaches(line: Mapping[str, Any]) -> Iterator[str]:
    """What about a line is not as ECS says."""
    yield from (f"{name} is missing" for name in NEEDED if name not in line)
    for name, value in line.items():
        kind = "keyword" if name.startswith("labels.") and name.count(".") == 1 else TYPES.get(name)
        if kind is None:
            yield f"{name} is no field that we use"
        elif not _fits(value, kind):
            yield f"{name} is {value!r}, which is no {kind}"


def _fits(value: Any, kind: str) -> bool:
    if kind in _TEXT:
        return isinstance(value, str) and (kind != "keyword" or len(value) <= 1024)
    if kind == "long":
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return kind == "date" and isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
