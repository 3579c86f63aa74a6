"""The OpenAPI 3.1 document of the routes that live now.

Promise: made of the manifests alone; what a path or a query string carries is a parameter, the rest of an operation is
its body; every refusal that is declared, and every one that the edge adds, is documented with its status.
"""

from collections.abc import Iterable
from typing import Any

from contracts.base import (
    RefusalKind,
    deadline_passed,
    forbidden,
    invalid_request,
    key_in_progress,
    key_reused,
    malformed_json,
    nobody_there,
    unauthenticated,
)
from contracts.presence import Route
from edge_api.problems import (
    bad_answer,
    bad_idempotency_key,
    body_too_large,
    body_too_slow,
    broker_away,
    internal_error,
    keys_unavailable,
    malformed_url,
    not_text,
    overloaded,
    revocations_unavailable,
    unsupported_media_type,
    url_too_long,
)
from edge_api.routing import Target
from edge_api.schemas import Components, Schema

_PROBLEM: Schema = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The request id."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body have one effect and one answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_PREFER_WAIT: Schema = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=N`: answer when the result is there, or after N seconds (RFC 7240).",
    "schema": {"type": "string", "pattern": "^wait=[0-9]{1,2}$"},
}


def document(targets: Iterable[Target]) -> dict[str, Any]:
    """The document of these operations."""
    components = Components()
    components.schemas["Problem"] = _PROBLEM
    paths: dict[str, dict[str, Any]] = {}
    for target in sorted(targets, key=lambda target: (target.route.path, target.route.method)):
        paths.setdefault(target.route.path, {})[target.route.method.lower()] = _operation(target, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hedgerow",
            "version": "1",
            "description": "The operations of the services that are known now.",
        },
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(target: Target, components: Components) -> dict[str, Any]:
    offer, route, service = target.offer, target.route, target.record.name
    in_path = [name for _, name in target.names]
    operation: dict[str, Any] = {
        "operationId": offer.topic,
        "tags": [service],
        "summary": offer.summary,
        "security": _security(route),
        "parameters": _parameters(offer.request, in_path, route, components, service),
        "responses": _responses(target, components),
    }
    if offer.kind == "write":
        operation["parameters"].append(_IDEMPOTENCY_KEY)
    if route.wait is not None:
        operation["parameters"].append(_PREFER_WAIT)
    if body := _body(target, in_path, components):
        operation["requestBody"] = body
    return operation


def _security(route: Route) -> list[dict[str, list[str]]]:
    """For other schemes than OAuth2 the list names roles (OpenAPI 3.1, Security Requirement Object)."""
    bearer = {"bearer": [*({"staff"} if route.who == "staff" else ()), *route.roles]}
    return [{}, bearer] if route.who == "anyone" else [bearer]


def _parameters(
    request: Schema, in_path: list[str], route: Route, components: Components, service: str
) -> list[Schema]:
    places = [(name, "path", name) for name in in_path]
    places += [(name, "query", name) for name in route.query if name not in in_path]
    places += [(header, "header", name) for header, name in route.headers.items()]
    properties, required = request.get("properties", {}), request.get("required", ())
    return [
        {
            "name": public,
            "in": place,
            "required": place == "path" or name in required,
            "schema": components.add(
                {**properties.get(name, {"type": "string"}), "$defs": request.get("$defs", {})}, service=service
            ),
        }
        for public, place, name in places
    ]


def _body(target: Target, in_path: list[str], components: Components) -> Schema | None:
    if target.route.method in ("GET", "DELETE"):
        return None
    if target.route.raw is not None:
        return {"required": True, "content": {"*/*": {"schema": {"type": "string"}}}}
    route = target.route
    request, elsewhere = target.offer.request, {*in_path, *route.query, route.wait, *route.headers.values()}
    properties = {name: schema for name, schema in request.get("properties", {}).items() if name not in elsewhere}
    if not properties:
        return None
    required = [name for name in request.get("required", ()) if name not in elsewhere]
    schema = {**request, "properties": properties, "required": required}
    if not required:
        del schema["required"]
    reference = components.add(schema, service=target.record.name, name=request.get("title", target.offer.topic))
    return {"required": bool(required), "content": {"application/json": {"schema": reference}}}


def _responses(target: Target, components: Components) -> dict[str, Any]:
    reply, route = target.offer.reply, target.route
    success: dict[str, Any] = {"description": "Done."}
    if route.status != 204 and reply.get("type") != "null":
        schema = components.add(reply, service=target.record.name, name=reply.get("title"))
        success["content"] = {"application/json": {"schema": schema}}
    responses = {str(route.status): success}
    for kind in (*target.offer.refusals, *_usual_refusals(target)):
        known = responses.setdefault(str(kind.status), _problem_response(kind.status))
        if f"`{kind.slug}`" not in known["description"]:
            known["description"] = f"{known['description']} `{kind.slug}`: {kind.title}".strip()
    return responses


def _problem_response(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": "",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status == 503:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return response


def _usual_refusals(target: Target) -> list[RefusalKind]:
    kinds = [malformed_url, url_too_long, unauthenticated, invalid_request, internal_error, bad_answer]
    kinds += [nobody_there, broker_away, overloaded, keys_unavailable, revocations_unavailable, deadline_passed]
    if target.route.who == "staff" or target.route.roles:
        kinds.append(forbidden)
    if target.route.raw is not None:
        kinds += [not_text, body_too_slow, body_too_large]
    elif target.route.method not in ("GET", "DELETE"):
        kinds += [malformed_json, body_too_slow, body_too_large, unsupported_media_type]
    if target.offer.kind == "write":
        kinds += [bad_idempotency_key, key_in_progress, key_reused]
    return kinds
