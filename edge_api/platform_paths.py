"""The routes that the platform serves itself: where they are, and how the OpenAPI document has them."""

from typing import Any

from contracts.base import Message, RefusalKind, forbidden, unauthenticated
from edge_api.openapi_responses import Responses
from edge_api.problems import (
    keys_unavailable,
    no_such_problem,
    not_acceptable,
    revocations_unavailable,
    too_many_requests,
)
from edge_api.roster import Roster

HEALTH, READINESS, SERVICES, PROBLEM = "/healthz", "/readyz", "/services", "/problems/{slug}"
OPENAPI, ASYNCAPI, DOCS = "/openapi.json", "/asyncapi.json", "/docs"
_EXACT = {HEALTH, READINESS, SERVICES, OPENAPI, ASYNCAPI, DOCS}
UNLIMITED = {HEALTH, READINESS}
"""Load balancers ask for these as often as they like."""
_JSON, _HTML = "application/json", "text/html"
_SLUG = {"name": "slug", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[a-z0-9-]+$"}}


class Health(Message):
    """The edge is alive."""

    status: str


class Readiness(Message):
    """Whether the edge can do its work, and what is missing for that."""

    status: str
    missing: tuple[str, ...]


class ProblemKind(Message):
    """What the slug of a problem means."""

    slug: str
    title: str
    status: int


def template_of(path: str) -> str | None:
    """Which of these routes a path (or the template of a claim) would lead to; None if it is free for the services."""
    if path in _EXACT:
        return path
    return PROBLEM if path.startswith(PROBLEM.partition("{")[0]) else None


def paths(responses: Responses) -> dict[str, dict[str, Any]]:
    """These routes, as the document has them."""

    def answers(model: type[Message], *, status: int = 200) -> dict[str, Any]:
        schema = model.model_json_schema(mode="serialization")
        return {str(status): responses.success(schema, service="platform")}

    def serves(media_type: str, specification: str) -> dict[str, Any]:
        return {"200": responses.document(media_type, specification), **refuses(not_acceptable, too_many_requests)}

    def refuses(*kinds: RefusalKind) -> dict[str, Any]:
        return {str(kind.status): responses.problem(kind) for kind in kinds}

    ready = answers(Readiness) | answers(Readiness, status=503)
    limited = refuses(not_acceptable, too_many_requests)
    services = (
        answers(Roster) | limited | refuses(unauthenticated, forbidden, keys_unavailable, revocations_unavailable)
    )
    problem = answers(ProblemKind) | limited | refuses(no_such_problem)
    return {
        HEALTH: _get("health", "Whether the edge is alive.", answers(Health)),
        READINESS: _get("readiness", "Whether the edge can do its work.", ready),
        SERVICES: _get(
            "services", "Who is there, and what was refused to them.", services, security=[{"bearer": ["staff"]}]
        ),
        PROBLEM: _get("problem", "What the slug of a problem means.", problem, parameters=[_SLUG]),
        OPENAPI: _get("openapi", "This document.", serves(_JSON, "OpenAPI 3.1")),
        ASYNCAPI: _get("asyncapi", "Every event and command.", serves(_JSON, "AsyncAPI 3.0")),
        DOCS: _get("docs", "This document, for people.", serves(_HTML, "HTML")),
    }


def _get(name: str, summary: str, responses: dict[str, Any], **more: Any) -> dict[str, Any]:
    operation = {"operationId": f"platform.get-{name}", "tags": ["platform"], "summary": summary}
    return {"get": {**operation, "security": [{}], "parameters": [], "responses": responses, **more}}
