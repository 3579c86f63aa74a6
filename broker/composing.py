"""A composition: one address for several questions, which the edge asks at once and whose answers it puts together.

Promise: a mistake in the declaration is found when it is put together: a part that is no query, a field that nobody
has, a field that a part needs and nobody gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from contracts.base import Query
from contracts.presence import MAX_PARTS, PROBLEMS, Offer, Part, Route

_DEFERRED = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Question:
    """A part as its author writes it."""

    operation: type[Query[Any]]
    given: dict[str, str]


def part(operation: type[Query[Any]], **given: object) -> Question:
    """Ask this, with these fields; other fields come from the address. Raises TypeError, ValueError."""
    if not issubclass(operation, Query):
        raise TypeError(f"{operation.__name__} is no query: only queries can be parts of a composition")
    for name, value in given.items():
        if name not in operation.model_fields:
            raise ValueError(f"{operation.__name__} has no field {name}")
        TypeAdapter(operation.model_fields[name].rebuild_annotation()).validate_strings(str(value))
    return Question(operation, {name: str(value) for name, value in given.items()})


def composition(topic: str, route: Route, summary: str, questions: Mapping[str, Question]) -> Offer:
    """What is told of it. Raises ValueError."""
    address = {*(segment[1:-1] for segment in route.path.split("/") if segment.startswith("{")), *route.query}
    where = f"{route.method} {route.path}"
    if route.method != "GET" or route.status != 200 or route.wait or route.headers or route.raw:
        raise ValueError(f"{where}: a composition is a plain GET")
    if not 0 < len(questions) <= MAX_PARTS or PROBLEMS in questions:
        raise ValueError(f"{where}: a composition has 1 to {MAX_PARTS} parts, and none is called {PROBLEMS}")
    parts = tuple(_part(name, question, address, where) for name, question in questions.items())
    if homeless := address - {field for one in parts for field in one.takes}:
        raise ValueError(f"{where}: no part has a field {min(homeless)}")
    return Offer(
        topic=topic, kind="query", summary=summary, http=route, request=_DEFERRED, reply=_DEFERRED, parts=parts
    )


def _part(name: str, question: Question, address: set[str], where: str) -> Part:
    fields = question.operation.model_fields
    takes = tuple(field for field in fields if field in address and field not in question.given)
    for field, about in fields.items():
        if about.is_required() and field not in takes and field not in question.given:
            raise ValueError(f"{where}: nobody gives {name} the field {field} of {question.operation.__name__}")
    return Part(name=name, topic=question.operation.topic, given=question.given, takes=takes)
