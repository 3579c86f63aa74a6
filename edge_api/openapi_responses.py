"""The responses of the OpenAPI document.

Promise: an operation documents every status it may answer with, and under each status the slugs of its problems, those
that its service declares and those that the edge adds; responses that many operations share are there once.
"""

import json
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
    request_failed,
    request_poisoned,
    temporarily_unavailable,
    unauthenticated,
)
from contracts.presence import Offer, Route
from edge_api.problems import (
    TRY_AGAIN,
    bad_answer,
    bad_idempotency_key,
    body_incomplete,
    body_too_large,
    body_too_slow,
    broker_away,
    internal_error,
    keys_unavailable,
    malformed_url,
    not_acceptable,
    not_text,
    overloaded,
    starting,
    too_many_requests,
    unsupported_media_type,
    url_too_long,
)
from edge_api.routing import has_content, keeps_answers
from edge_api.schemas import Components, Schema, plain

PROBLEM: Schema = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Which problem it is, for programs."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong, for people."},
        "instance": {"type": "string", "format": "uuid", "description": "The request id."},
        "errors": {
            "description": "The fields that are wrong.",
            "type": "array",
            "items": {
                "title": "FieldError",
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "A JSON pointer (RFC 6901)."},
                    "detail": {"type": "string"},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The id of this request, as the logs have it.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "Retry-After": {
        "description": "In how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate (RFC 6750).",
        "required": True,
        "schema": {"type": "string", "pattern": "^Bearer"},
    },
}
"""What responses carry beside their content."""

_ALWAYS = (
    malformed_url,
    url_too_long,
    unauthenticated,
    invalid_request,
    too_many_requests,
    internal_error,
    request_failed,
    request_poisoned,
    bad_answer,
    nobody_there,
    temporarily_unavailable,
    broker_away,
    overloaded,
    starting,
    keys_unavailable,
    deadline_passed,
)
_WITH_BODY = (body_incomplete, body_too_slow, body_too_large)
_KEEPING_ANSWERS = (bad_idempotency_key, key_in_progress, key_reused)


class Responses:
    """Gathers the responses of one document."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._problem = components.add(PROBLEM, service="edge", name="Problem")
        self._names: dict[str, str] = {}
        self.shared: dict[str, dict[str, Any]] = {}

    def of(self, offer: Offer, route: Route, *, service: str) -> dict[str, dict[str, Any]]:
        """All responses of an operation, by status."""
        kinds: dict[int, dict[str, RefusalKind]] = {}
        for kind in (*offer.refusals, *usual_refusals(offer, route)):
            kinds.setdefault(kind.status, {}).setdefault(kind.slug, kind)
        reply = offer.reply if has_content(offer, route) else None
        return {str(route.status): self.success(reply, service=service)} | {
            str(status): self.problem(*kinds[status].values()) for status in kinds
        }

    def success(self, reply: Schema | None, *, service: str) -> dict[str, Any]:
        """A response with a reply, if there is any."""
        response: dict[str, Any] = {"description": "Done.", "headers": _headers("X-Request-Id")}
        if reply is not None:
            schema = self._components.add(reply, service=service, name=reply.get("title"))
            response["content"] = {"application/json": {"schema": schema}}
        return response

    @staticmethod
    def document(media_type: str, specification: str) -> dict[str, Any]:
        """A response whose form a specification says, not a schema."""
        return {"description": specification, "headers": _headers("X-Request-Id"), "content": {media_type: {}}}

    def problem(self, *kinds: RefusalKind) -> dict[str, Any]:
        """A reference to the response that says one of these, all of one status."""
        response = self._problem_response(kinds[0].status, sorted(kinds, key=lambda kind: kind.slug))
        key = json.dumps(response)
        if key not in self._names:
            self._names[key] = self._free(plain("-or-".join(sorted(kind.slug for kind in kinds))))
            self.shared[self._names[key]] = response
        return {"$ref": f"#/components/responses/{self._names[key]}"}

    def _problem_response(self, status: int, kinds: Iterable[RefusalKind]) -> dict[str, Any]:
        headers = {401: ("WWW-Authenticate",)}.get(status, ("Retry-After",) if status in TRY_AGAIN else ())
        types = [f"/problems/{kind.slug}" for kind in kinds]
        narrowed = {"properties": {"type": {"enum": types}, "status": {"const": status}}}
        return {
            "description": " ".join(f"`{kind.slug}`: {kind.title}" for kind in kinds),
            "headers": _headers("X-Request-Id", *headers),
            "content": {"application/problem+json": {"schema": {"allOf": [self._problem, narrowed]}}},
        }

    def _free(self, name: str) -> str:
        return name if name not in self.shared else f"{name}.{len(self.shared)}"


def usual_refusals(offer: Offer, route: Route) -> list[RefusalKind]:
    """What may be answered here whatever the service declares."""
    kinds = [*_ALWAYS]
    if route.who == "staff":
        kinds.append(forbidden)
    if has_content(offer, route):
        kinds.append(not_acceptable)
    if route.method not in ("GET", "DELETE"):
        kinds += _WITH_BODY
        kinds += [not_text] if route.raw is not None else [malformed_json, unsupported_media_type]
    if keeps_answers(offer):
        kinds += _KEEPING_ANSWERS
    return kinds


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
