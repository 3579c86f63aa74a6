"""The document of what can be asked."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field

from broker.service import Http, Service
from contracts.base import Input, Money, Operation, Page, PageQuery, Query, Sku, refusal
from contracts.presence import Cache
from edge_api import openapi
from edge_api.schemas import Components
from tests.edge_api.shop import shop
from tests.edge_api.world import World, offer

out_of_stock = refusal("out-of-stock", 409, "There are not enough of them.")
too_late = refusal("too-late", 409, "It is too late for that.")


class Part(Input):
    """A part of a thing."""

    name: str
    parts: tuple["Part", ...] = ()


class Thing(Input):
    sku: Sku
    price: Money
    parts: tuple[Part, ...] = ()


class GetThing(Query[Thing]):
    """One thing."""

    topic: ClassVar[str] = "store.get-thing.v1"
    sku: Sku


class ListThings(PageQuery[Page[Thing]]):
    """Many things."""

    topic: ClassVar[str] = "store.list-things.v1"
    most: Money | None = None


class ChangeThing(Operation[Thing]):
    """Change a thing."""

    topic: ClassVar[str] = "store.change-thing.v1"
    refusals = (out_of_stock, too_late)
    sku: Sku
    price: Money
    count: Annotated[int, Field(ge=1)] = 1


class EndThing(Operation[None]):
    """End a thing."""

    topic: ClassVar[str] = "store.end-thing.v1"
    sku: Sku


def store() -> Service:
    service = Service("store", version="1")

    async def never(ask: Any) -> Any:
        raise NotImplementedError

    service.answers(GetThing, http=Http("GET", "/stored/{sku}", who="anyone"))(never)
    service.answers(ListThings, http=Http("GET", "/stored", who="anyone"))(never)
    service.answers(ChangeThing, http=Http("PATCH", "/stored/{sku}", who="staff"))(never)
    service.answers(EndThing, http=Http("DELETE", "/stored/{sku}", status=204))(never)
    return service


async def document(world: World) -> Any:
    world.present("store", *store().manifest().offers)
    response = await world.client.get("/openapi.json")
    assert response.status_code == 200
    return response.json()


def every(node: Any, key: str) -> Iterator[Any]:
    """Everything under this key, anywhere."""
    if isinstance(node, list):
        for element in node:
            yield from every(element, key)
    elif isinstance(node, dict):
        if key in node:
            yield node[key]
        for value in node.values():
            yield from every(value, key)


def resolve(document: Any, reference: str) -> Any:
    node = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


def response_of(document: Any, operation: Any, status: str) -> Any:
    response = operation["responses"][status]
    return resolve(document, response["$ref"]) if "$ref" in response else response


def slugs(document: Any, operation: Any, status: str) -> set[str]:
    """Those that the response's schema allows, which must be those that its description explains."""
    response = response_of(document, operation, status)
    base, narrowed = response["content"]["application/problem+json"]["schema"]["allOf"]
    assert (base, narrowed["properties"]["status"]) == (
        {"$ref": "#/components/schemas/Problem"},
        {"const": int(status)},
    )
    allowed = {type.removeprefix("/problems/") for type in narrowed["properties"]["type"]["enum"]}
    assert allowed == set(re.findall("`(.+?)`", response["description"]))
    return allowed


async def test_the_document_has_the_form_of_openapi(world: World) -> None:
    found = await document(world)
    assert re.fullmatch(r"3\.1\.\d+", found["openapi"])
    assert {"title", "version"} <= found["info"].keys()
    for path, item in found["paths"].items():
        assert path.startswith("/")
        for method, operation in item.items():
            assert method in {"get", "post", "put", "patch", "delete"}
            check_operation(found, path, operation)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in found["components"]["schemas"])
    ids = list(every(found["paths"], "operationId"))
    assert len(ids) == len(set(ids))


def check_operation(document: Any, path: str, operation: Any) -> None:
    assert operation["responses"]
    for status in operation["responses"]:
        assert re.fullmatch(r"[1-5]\d\d", status)
        response = response_of(document, operation, status)
        assert response["description"]
        assert "X-Request-Id" in response["headers"]
    places = {(parameter["name"], parameter["in"]) for parameter in operation["parameters"]}
    assert len(places) == len(operation["parameters"])
    assert {name for name, place in places if place == "path"} == set(re.findall(r"{(\w+)}", path))
    assert all(parameter["required"] for parameter in operation["parameters"] if parameter["in"] == "path")
    assert all(name in ("bearer",) for requirement in operation["security"] for name in requirement)


async def test_every_reference_leads_somewhere(world: World) -> None:
    found = await document(world)
    references = [reference for reference in every(found, "$ref") if isinstance(reference, str)]
    assert references
    assert all(resolve(found, reference) is not None for reference in references)
    assert not list(every(found, "$defs"))


async def test_what_path_and_query_carry_is_not_in_the_body(world: World) -> None:
    found = await document(world)
    change = found["paths"]["/stored/{sku}"]["patch"]
    body = resolve(found, change["requestBody"]["content"]["application/json"]["schema"]["$ref"])
    assert set(body["properties"]) == {"price", "count"}
    assert body["required"] == ["price"]
    assert change["requestBody"]["required"] is True
    listing = found["paths"]["/stored"]["get"]
    assert {parameter["name"] for parameter in listing["parameters"]} == {"limit", "cursor", "most"}
    assert "requestBody" not in listing


async def test_refusals_are_documented_by_status(world: World) -> None:
    found = await document(world)
    change = found["paths"]["/stored/{sku}"]["patch"]
    statuses = "200 400 401 403 406 408 409 410 413 414 415 422 429 500 502 503 504"
    assert set(change["responses"]) == set(statuses.split())
    assert slugs(found, change, "409") == {"out-of-stock", "too-late", "idempotency-key-in-progress"}
    assert slugs(found, change, "422") == {"invalid-request", "idempotency-key-reused"}
    assert {"Retry-After", "X-Request-Id"} == response_of(found, change, "503")["headers"].keys()
    assert {"Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"} == response_of(found, change, "429")[
        "headers"
    ].keys()
    assert {"WWW-Authenticate", "X-Request-Id"} == response_of(found, change, "401")["headers"].keys()


async def test_what_can_not_happen_is_not_documented(world: World) -> None:
    found = await document(world)
    look, end = found["paths"]["/stored/{sku}"]["get"], found["paths"]["/stored/{sku}"]["delete"]
    assert not {"403", "404", "408", "409", "413", "415"} & look["responses"].keys()
    assert slugs(found, look, "400") == {"malformed-url", "repeated-header"}
    assert "406" in look["responses"]
    assert "406" not in end["responses"]


async def test_an_idempotency_key_is_documented_where_it_means_something(world: World) -> None:
    world.present("plug", offer("plug.in.v1", "POST", "/plug"), offer("plug.on.v1", "PUT", "/plug", keeps_answer=False))
    item = (await world.client.get("/openapi.json")).json()["paths"]["/plug"]
    assert [parameter["name"] for parameter in item["post"]["parameters"]] == ["Idempotency-Key"]
    assert (item["put"]["parameters"], "409" in item["put"]["responses"]) == ([], False)


async def test_what_may_be_kept_is_documented_with_its_tag(world: World) -> None:
    kept = Cache(seconds=60)
    offers = (
        offer("plug.look.v1", "GET", "/plug", cache=kept),
        offer("plug.mine.v1", "GET", "/my", who="user", cache=kept),
    )
    world.present("plug", *offers)
    found = (await world.client.get("/openapi.json")).json()
    look, mine = found["paths"]["/plug"]["get"], found["paths"]["/my"]["get"]
    assert [(one["name"], one["in"], one["required"]) for one in look["parameters"]] == [
        ("If-None-Match", "header", False)
    ]
    assert "ETag" in look["responses"]["200"]["headers"]
    assert {"ETag", "X-Request-Id"} <= look["responses"]["304"]["headers"].keys()
    assert "content" not in look["responses"]["304"]
    assert (mine["parameters"], "304" in mine["responses"], "ETag" in mine["responses"]["200"]["headers"]) == (
        [],
        False,
        False,
    )


async def test_a_field_of_the_address_is_no_null(world: World) -> None:
    listing = (await document(world))["paths"]["/stored"]["get"]
    cursor = next(parameter for parameter in listing["parameters"] if parameter["name"] == "cursor")
    assert cursor == {
        "name": "cursor",
        "in": "query",
        "required": False,
        "schema": {"type": "string", "maxLength": 500, "title": "Cursor"},
    }


async def test_a_service_can_not_redefine_what_a_problem_is(world: World) -> None:
    world.present("plug", offer("plug.in.v1", "GET", "/plug", reply={"title": "Problem", "type": "string"}))
    found = (await world.client.get("/openapi.json")).json()
    assert found["components"]["schemas"]["Problem"]["type"] == "object"
    assert found["components"]["schemas"]["plug.Problem"]["type"] == "string"


async def test_two_services_may_explain_one_slug_differently(world: World) -> None:
    for service, title in (("one", "It is full."), ("two", "There is no room.")):
        full = refusal("full", 409, title)
        world.present(service, offer(f"{service}.in.v1", "GET", f"/{service}", refusals=(full,)))
    found = (await world.client.get("/openapi.json")).json()
    said = [response_of(found, found["paths"][path]["get"], "409")["description"] for path in ("/one", "/two")]
    assert said == ["`full`: It is full.", "`full`: There is no room."]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/services", "/problems/{slug}", "/openapi.json", "/docs"])
async def test_the_platform_documents_its_own_routes(world: World, path: str) -> None:
    assert "200" in (await document(world))["paths"][path]["get"]["responses"]


def test_no_schema_of_the_shop_is_open_or_empty() -> None:
    found = openapi.document(shop().table.targets)
    assert {"/orders", "/products/{sku}", "/users/me", "/gateway-webhooks/{gateway}"} <= found["paths"].keys()
    assert [where for where, schema in schemas_in(found) if is_open(schema)] == []


def schemas_in(document: Any) -> Iterator[tuple[str, Any]]:
    """Every schema with where it is, those within others too."""
    waiting = [(name, schema) for name, schema in document["components"]["schemas"].items()]
    waiting += [("body or parameter", schema) for schema in every(document["paths"], "schema")]
    waiting += [("header", schema) for schema in every(document["components"]["headers"], "schema")]
    while waiting:
        where, schema = waiting.pop()
        yield where, schema
        if isinstance(schema, dict):
            waiting += [(f"{where}/{name}", inner) for name, inner in schema.get("properties", {}).items()]
            waiting += [(f"{where}/{key}", schema[key]) for key in ("items", "additionalProperties") if key in schema]
            waiting += [
                (f"{where}/{key}", inner) for key in ("anyOf", "oneOf", "prefixItems") for inner in schema.get(key, ())
            ]


def is_open(schema: Any) -> bool:
    """Whether it allows whatever one likes."""
    if schema is False or (isinstance(schema, dict) and {"$ref", "anyOf", "oneOf", "enum", "const"} & schema.keys()):
        return False
    if not isinstance(schema, dict) or "type" not in schema:
        return True
    if schema["type"] == "object":
        return not {"properties", "additionalProperties"} & schema.keys()
    return schema["type"] == "array" and not {"items", "prefixItems"} & schema.keys()


async def test_who_may_call_is_documented(world: World) -> None:
    found = await document(world)
    assert found["paths"]["/stored"]["get"]["security"] == [{}, {"bearer": []}]
    assert found["paths"]["/stored/{sku}"]["patch"]["security"] == [{"bearer": ["staff"]}]
    assert found["paths"]["/stored/{sku}"]["delete"]["security"] == [{"bearer": []}]


async def test_a_reply_without_content_has_none(world: World) -> None:
    found = await document(world)
    assert "content" not in found["paths"]["/stored/{sku}"]["delete"]["responses"]["204"]


async def test_the_document_follows_the_services(world: World) -> None:
    assert "/plug" not in (await world.client.get("/openapi.json")).json()["paths"]
    world.present("plug", offer("plug.in.v1", "GET", "/plug"))
    assert "/plug" in (await world.client.get("/openapi.json")).json()["paths"]


async def test_one_document_serves_a_generation(world: World) -> None:
    first, second = [(await world.client.get("/openapi.json")).content for _ in range(2)]
    assert first == second


def test_equal_definitions_are_one_and_different_ones_never_mix() -> None:
    components = Components()
    euro, dollar = {"type": "integer"}, {"type": "string"}

    def using(money: Any) -> Any:
        return {"$ref": "#/$defs/Money", "$defs": {"Money": money}}

    assert components.add(using(euro), service="one") == {"$ref": "#/components/schemas/Money"}
    assert components.add(using(euro), service="two") == {"$ref": "#/components/schemas/Money"}
    assert components.add(using(dollar), service="two") == {"$ref": "#/components/schemas/two.Money"}
    assert components.schemas == {"Money": euro, "two.Money": dollar}


def test_definitions_that_differ_only_below_never_mix() -> None:
    components = Components()

    def using(inner: Any) -> Any:
        outer = {"properties": {"inner": {"$ref": "#/$defs/Inner"}}}
        return {"$ref": "#/$defs/Outer", "$defs": {"Outer": outer, "Inner": inner}}

    one = components.add(using({"type": "integer"}), service="one")
    two = components.add(using({"type": "string"}), service="two")
    assert one != two


def test_a_definition_may_speak_of_itself() -> None:
    components = Components()
    tree = {"properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}}
    components.add({"$ref": "#/$defs/Tree", "$defs": {"Tree": tree}}, service="one")
    assert components.schemas["Tree"]["properties"]["children"]["items"] == {"$ref": "#/components/schemas/Tree"}
