"""The responses of the OpenAPI document.

Promise: an operation documents every status it may answer with, and under each status the slugs of its problems, those
that its service declares and those that the edge adds; responses that many operations share are there once.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from contracts.base import (
    RefusalKind,
    answer_erased,
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
from contracts.presence import PROBLEMS
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
    repeated_header,
    revocations_unavailable,
    starting,
    too_many_requests,
    too_many_streams,
    unsupported_media_type,
    url_too_long,
)
from edge_api.routing import Target
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
    "RateLimit": {
        "description": "What is left of the limit that is closest; absent where nothing is limited.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "The limits that count this request; absent where nothing is limited.",
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "What `If-None-Match` takes; absent where the answer may not be kept right now.",
        "schema": {"type": "string", "pattern": '^"[0-9a-f]+"$'},
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

_STREAM = "text/event-stream"
_LIMITS = ("RateLimit", "RateLimit-Policy")
_ALWAYS = (
    malformed_url,
    repeated_header,
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
    revocations_unavailable,
    deadline_passed,
)
_WITH_BODY = (body_incomplete, body_too_slow, body_too_large)
_KEEPING_ANSWERS = (answer_erased, bad_idempotency_key, key_in_progress, key_reused)


class Responses:
    """Gathers the responses of one document."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._problem = components.add(PROBLEM, service="edge", name="Problem")
        self._names: dict[str, str] = {}
        self.shared: dict[str, dict[str, Any]] = {}

    def of(self, target: Target) -> dict[str, dict[str, Any]]:
        """All responses of an operation, by status."""
        kinds: dict[int, dict[str, RefusalKind]] = {}
        for kind in (*_declared(target), *usual_refusals(target)):
            kinds.setdefault(kind.status, {}).setdefault(kind.slug, kind)
        reply = self._composed(target) if target.parts else target.offer.reply
        success = self.success(reply if target.has_content else None, service=target.record.name)
        problems = {str(status): self.problem(*kinds[status].values()) for status in kinds}
        if target.offer.stream is not None:
            return self._stream(target) | problems
        if target.is_cached:
            success["headers"] |= _headers("ETag")
            problems["304"] = {"description": "What the client has still holds.", "headers": success["headers"]}
        return {str(target.route.status): success} | problems

    @staticmethod
    def _stream(target: Target) -> dict[str, dict[str, Any]]:
        """What goes on, or says that nothing more will come."""
        items = target.offer.reply.get("properties", {}).get("items", {}).get("items", {})
        name = items.get("$ref", "").rpartition("/")[2] or "JSON value"
        told = {"type": "string", "description": f"Server-Sent Events; the data of each is a {name}."}
        headers = _headers("X-Request-Id", *_LIMITS)
        return {
            "200": {"description": "Told as it happens.", "headers": headers, "content": {_STREAM: {"schema": told}}},
            "204": {"description": "There is nothing more to tell, and never will be.", "headers": headers},
        }

    def _composed(self, target: Target) -> Schema:
        """The parts' replies and their problems: of each part one or the other."""
        names = [one.part.name for one in target.parts]
        replies = {one.part.name: self._reply(one.target) for one in target.parts if one.target}
        parts = {name: {"anyOf": [*replies.get(name, ()), {"type": "null"}]} for name in names}
        problems = {
            "type": "object",
            "description": "Why a part is null, by its name.",
            "properties": {name: self._problem for name in names},
            "additionalProperties": False,
        }
        return {
            "type": "object",
            "properties": {**parts, PROBLEMS: problems},
            "required": [*names, PROBLEMS],
            "additionalProperties": False,
        }

    def _reply(self, target: Target) -> list[Schema]:
        reply = target.offer.reply
        return [self._components.add(reply, service=target.record.name, name=reply.get("title"))]

    def success(self, reply: Schema | None, *, service: str) -> dict[str, Any]:
        """A response with a reply, if there is any."""
        response: dict[str, Any] = {"description": "Done.", "headers": _headers("X-Request-Id", *_LIMITS)}
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
        headers = {401: ("WWW-Authenticate",), 429: ("Retry-After", *_LIMITS)}.get(
            status, ("Retry-After",) if status in TRY_AGAIN else ()
        )
        types = [f"/problems/{kind.slug}" for kind in kinds]
        narrowed = {"properties": {"type": {"enum": types}, "status": {"const": status}}}
        return {
            "description": " ".join(f"`{kind.slug}`: {kind.title}" for kind in kinds),
            "headers": _headers("X-Request-Id", *headers),
            "content": {"application/problem+json": {"schema": {"allOf": [self._problem, narrowed]}}},
        }

    def _free(self, name: str) -> str:
        return name if name not in self.shared else f"{name}.{len(self.shared)}"


def _declared(target: Target) -> Iterator[RefusalKind]:
    """Where all parts of a composition fail, the first one's refusal is the answer."""
    yield from target.offer.refusals
    for one in target.parts[:1]:
        if one.target is not None:
            yield from one.target.offer.refusals


def usual_refusals(target: Target) -> list[RefusalKind]:
    """What may be answered here whatever the service declares."""
    kinds, route = [*_ALWAYS], target.route
    if route.roles or "staff" in (route.who, *(one.target.route.who for one in target.parts[:1] if one.target)):
        kinds.append(forbidden)
    if target.has_content:
        kinds.append(not_acceptable)
    if target.offer.stream is not None:
        kinds.append(too_many_streams)
    if route.method not in ("GET", "DELETE"):
        kinds += _WITH_BODY
        kinds += [not_text] if route.raw is not None else [malformed_json, unsupported_media_type]
    if target.keeps_answers:
        kinds += _KEEPING_ANSWERS
    return kinds


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
