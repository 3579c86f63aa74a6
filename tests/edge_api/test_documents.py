"""The documents, whatever manifests say."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.registry import Registry
from contracts.base import refusal
from contracts.presence import Manifest, Offer, Part, Route, Saying
from edge_api.documents import Documents
from edge_api.routing import Routes
from tests.edge_api.test_docs_page import Page

NAMES = st.sampled_from(["id", "q", "Thing", "a/b", "<b>", "$ref", "\u00e9", ""])
LEAVES = st.booleans() | st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "null", "object", "array", ["integer", "null"], "<i>"]),
        "title": NAMES,
        "description": NAMES,
        "enum": st.lists(st.none() | st.integers() | NAMES, max_size=2),
        "default": st.none() | st.lists(st.integers(), max_size=1),
        "$ref": st.sampled_from(["#/$defs/Thing", "#/$defs/None", "elsewhere#"]),
        "discriminator": st.just({"propertyName": "q"}) | st.just("q"),
    },
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "$defs": st.dictionaries(NAMES, inner, max_size=2),
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "required": st.lists(NAMES, max_size=2),
            "items": inner,
            "additionalProperties": inner,
            "anyOf": st.lists(inner, max_size=2),
            "title": NAMES,
        },
    ),
    max_leaves=6,
).filter(lambda schema: isinstance(schema, dict))
PATHS = st.sampled_from(["/plug", "/plug/{id}", "/plug/{a b}/<b>"])


def offers(path: str, request: Any, reply: Any, slug: str) -> tuple[Offer, ...]:
    """A query, a write and a composition."""
    kinds = (refusal(slug, 409, slug),)
    look = Route(method="GET", path=path, query=("q",), headers={"x-id": "id"})
    query = Offer(topic="plug.q", kind="query", http=look, request=request, reply=reply, refusals=kinds)
    change = look.model_copy(update={"method": "POST"})
    write = Offer(topic="plug.w", kind="write", http=change, request=request, reply=reply, refusals=kinds)
    parts = Part(name="one", topic="plug.q", takes=("q",)), Part(name="gone", topic="nobody.v1")
    page = Route(method="GET", path=f"{path}/page", query=("q",))
    return query, write, Offer(topic="plug.c", kind="query", http=page, request={}, reply={}, parts=parts)


@settings(max_examples=30)
@given(path=PATHS, request=SCHEMAS, reply=SCHEMAS, said=SCHEMAS, slug=NAMES)
def test_no_manifest_takes_the_documents_away(path: str, request: Any, reply: Any, said: Any, slug: str) -> None:
    says = (Saying(topic="plug.said.v1", schema_=said), Saying(topic="other.do.v1", kind="command", schema_=said))
    manifest = Manifest(service="plug", version="1", offers=offers(path, request, reply, slug), says=says)
    registry = Registry(trusted_logins=frozenset())
    assert registry.accept(manifest, login="plug", newest=datetime.now(UTC))
    documents = Documents(Routes(registry, is_reserved=lambda path: False))
    for at, key in (("/openapi.json", "paths"), ("/asyncapi.json", "channels")):
        assert json.loads(documents.at(at).body)[key]
    assert Page(documents.at("/docs").body.decode()).open == []
