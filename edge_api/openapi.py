"""The OpenAPI 3.1 document of the routes that live now.

Promise: made of the manifests and of what the platform says of its own routes; what a path, a query string or a header
carries is a parameter, the rest of an operation is its body; every refusal that is declared, and every one that the
edge adds, is documented with its status and its slug.
"""

from collections.abc import Iterable
from typing import Any

from contracts.presence import Offer, Route
from edge_api import platform_paths
from edge_api.openapi_responses import HEADERS, Responses
from edge_api.routing import Target
from edge_api.schemas import Components, Schema

_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "An access token (RFC 9068), good for ten minutes.",
}
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body have one effect and one answer.",
    "schema": {"type": "string", "pattern": r"^[!-~]([ -~]{0,253}[!-~])?$"},
}
_PREFER_WAIT: Schema = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=N`: answer when the result is there, or after N seconds; all else is ignored (RFC 7240).",
    "schema": {"type": "string"},
}
_TICKET: Schema = {
    "name": "ticket",
    "in": "query",
    "required": False,
    "description": "For clients that can't send an Authorization header: what POST /stream-tickets answers.",
    "schema": {"type": "string", "maxLength": 4096},
}

_IF_NONE_MATCH: Schema = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of an answer that the client has: 304, if it still holds.",
    "schema": {"type": "string"},
}


def document(targets: Iterable[Target]) -> dict[str, Any]:
    """The document of these operations and of the platform's own."""
    components = Components()
    responses = Responses(components)
    paths = platform_paths.paths(responses)
    for target in sorted(targets, key=lambda target: (target.route.path, target.route.method)):
        operation = _operation(target, components, responses)
        paths.setdefault(target.route.path, {})[target.route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hedgerow",
            "version": "1",
            "summary": "What can be asked here right now.",
            "description": "Made of what the services that are known say of themselves; it changes when they do.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components.schemas,
            "responses": responses.shared,
            "headers": HEADERS,
            "securitySchemes": {"bearer": _BEARER},
        },
    }


def _security(route: Route) -> list[dict[str, list[str]]]:
    """For other schemes than OAuth2 the list names roles (OpenAPI 3.1, Security Requirement Object)."""
    bearer = {"bearer": [*({"staff"} if route.who == "staff" else ()), *route.roles]}
    return [{}, bearer] if route.who == "anyone" else [bearer]


def _operation(target: Target, components: Components, responses: Responses) -> dict[str, Any]:
    offer, route, service = target.offer, target.route, target.record.name
    in_path = [name for _, name in target.names]
    operation: dict[str, Any] = {
        "operationId": offer.topic,
        "tags": [service],
        "summary": offer.summary,
        "security": _security(route),
        "parameters": [_parameter(target, *place, components) for place in _places(route, in_path)],
        "responses": responses.of(target),
    }
    if offer.stream is not None:
        operation["parameters"].append(_TICKET)
    if target.keeps_answers:
        operation["parameters"].append(_IDEMPOTENCY_KEY)
    if target.is_cached:
        operation["parameters"].append(_IF_NONE_MATCH)
    if route.wait is not None:
        operation["parameters"].append(_PREFER_WAIT)
    if body := _body(offer, route, in_path, components, service):
        operation["requestBody"] = body
    return operation


def _places(route: Route, in_path: list[str]) -> list[tuple[str, str, str]]:
    """Public name, place and field of each parameter."""
    places = [(name, "path", name) for name in in_path]
    places += [(name, "query", name) for name in route.query if name not in in_path]
    return places + [(header, "header", name) for header, name in route.headers.items()]


def _parameter(target: Target, public: str, place: str, name: str, components: Components) -> Schema:
    asked = next((one.target for one in target.parts if one.target and name in one.part.takes), target)
    request = asked.offer.request
    schema = {**_as_text(request.get("properties", {}).get(name)), "$defs": request.get("$defs", {})}
    return {
        "name": public,
        "in": place,
        "required": place == "path" or name in request.get("required", ()),
        "schema": components.add(schema, service=asked.record.name),
    }


def _as_text(schema: Any) -> Schema:
    """The schema of a field that comes as text: what can't be written there is left out."""
    if not isinstance(schema, dict):
        return {"type": "string"}
    branches = [branch for branch in schema.get("anyOf", ()) if branch != {"type": "null"}]
    if len(branches) != 1 or not isinstance(branches[0], dict):
        return schema
    kept = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    return {**branches[0], **kept}


def _body(offer: Offer, route: Route, in_path: list[str], components: Components, service: str) -> Schema | None:
    if route.method in ("GET", "DELETE"):
        return None
    if route.raw is not None:
        return {"required": True, "content": {"*/*": {"schema": {"type": "string"}}}}
    request, elsewhere = offer.request, {*in_path, *route.query, route.wait, *route.headers.values()}
    properties = {name: schema for name, schema in request.get("properties", {}).items() if name not in elsewhere}
    if not properties:
        return None
    required = [name for name in request.get("required", ()) if name not in elsewhere]
    schema = {**request, "properties": properties, "required": required}
    if not required:
        del schema["required"]
    reference = components.add(schema, service=service, name=request.get("title", offer.topic))
    return {"required": bool(required), "content": {"application/json": {"schema": reference}}}
