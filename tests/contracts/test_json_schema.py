"""The schemas within manifests."""

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from contracts.json_schema import Schema


class Tree(BaseModel):
    size: int | None = None
    branches: tuple["Tree", ...] = ()


SCHEMA: TypeAdapter[dict[str, Any]] = TypeAdapter(Schema)


@pytest.mark.parametrize(
    "schema", [{}, Tree.model_json_schema(), {"type": ["string", "null"], "x-of-ours": [1]}, {"items": False}]
)
def test_a_schema_is_kept_as_it_is(schema: dict[str, Any]) -> None:
    assert SCHEMA.validate_python(schema) == schema


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {"properties": []},
        {"properties": {"a": 1}},
        {"$defs": {"A": {"properties": {"b": "string"}}}},
        {"required": "name"},
        {"anyOf": {"type": "string"}},
        {"items": [{"type": "string"}]},
        {"$ref": 7},
        {"title": {}},
    ],
)
def test_what_can_not_be_read_as_a_schema_is_none(schema: Any) -> None:
    with pytest.raises(ValidationError):
        SCHEMA.validate_python(schema)
