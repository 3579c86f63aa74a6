"""Schemas of many services in one document.

Promise: definitions move from each schema's `$defs` to the document's components and references follow them; equal
definitions are one component, and different ones of one name (two services may both have a `Money`) never mix.
"""

import json
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
_LOCAL = "#/$defs/"
_SHARED = "#/components/schemas/"


class Components:
    """The components of one document. Names are kept where they are free, else the service's name is put before."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._names: dict[tuple[str, str], str] = {}

    def add(self, schema: Schema, *, service: str, name: str | None = None) -> Schema:
        """The schema with its definitions moved here; itself too, leaving a reference, if it has a name."""
        definitions: dict[str, Schema] = schema.get("$defs", {})
        bare = {key: value for key, value in schema.items() if key != "$defs"}
        moved = {local: self._name(local, definitions, service) for local in _reachable(bare, definitions)}
        for local, shared in moved.items():
            self.schemas[shared] = _renamed(definitions[local], moved)
        rewritten: Schema = _renamed(bare, moved)
        if name is None or "$ref" in bare:
            return rewritten
        shared = self._name(name, {**definitions, name: bare}, service)
        self.schemas[shared] = rewritten
        return {"$ref": _SHARED + shared}

    def _name(self, local: str, definitions: dict[str, Schema], service: str) -> str:
        closure = {name: definitions[name] for name in sorted({local, *_reachable(definitions[local], definitions)})}
        key = (local, json.dumps(closure, sort_keys=True))
        if key not in self._names:
            self._names[key] = self._free(plain(local), service)
        return self._names[key]

    def _free(self, name: str, service: str) -> str:
        taken = set(self._names.values())
        wishes = [name, f"{service}.{name}"]
        return next(wish for wish in _numbered(wishes) if wish not in taken)


def _numbered(wishes: list[str]) -> Iterator[str]:
    yield from wishes
    number = 2
    while True:
        yield f"{wishes[-1]}.{number}"
        number += 1


def plain(name: str) -> str:
    """A name for a component: only letters, digits, `.`, `_` and `-` may be in it."""
    return "".join(
        character if character.isascii() and (character.isalnum() or character in "._-") else "_" for character in name
    )


def _reachable(schema: Any, definitions: dict[str, Schema]) -> set[str]:
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        for local in _references(waiting.pop()):
            if local in definitions and local not in found:
                found.add(local)
                waiting.append(definitions[local])
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for element in schema:
            yield from _references(element)
    elif isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith(_LOCAL):
            yield reference.removeprefix(_LOCAL)
        for value in schema.values():
            yield from _references(value)


def _renamed(schema: Any, moved: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(element, moved) for element in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: _renamed(value, moved) for key, value in schema.items()}
    reference = copy.get("$ref")
    if isinstance(reference, str) and reference.startswith(_LOCAL):
        copy["$ref"] = _SHARED + moved.get(reference.removeprefix(_LOCAL), reference.removeprefix(_LOCAL))
    mapping = copy.get("discriminator", {}).get("mapping") if isinstance(copy.get("discriminator"), dict) else None
    if isinstance(mapping, dict):
        copy["discriminator"]["mapping"] = {
            value: _SHARED + moved.get(str(to).removeprefix(_LOCAL), str(to)) for value, to in mapping.items()
        }
    return copy
