"""The routes that the platform serves itself: is it well, who is there, what can be asked, what does a problem mean."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from contracts import presence
from contracts.base import Message, RefusalKind
from edge_api import problems, roster
from edge_api.accepting import must_accept
from edge_api.authentication import Authenticator, admit
from edge_api.documents import Documents
from edge_api.platform_paths import (
    ASYNCAPI,
    DOCS,
    HEALTH,
    OPENAPI,
    PROBLEM,
    READINESS,
    SERVICES,
    Health,
    ProblemKind,
    Readiness,
)
from edge_api.problems import RefusedError, internal_error, method_not_allowed, no_such_route, problem
from edge_api.responses import JSON, Response
from edge_api.routing import Routes

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]
Checks = Mapping[str, Callable[[], bool]]
"""What readiness consists of, by name."""
Answering = Callable[[Request], Awaitable[Response]]
_FOR_STAFF = presence.Route(method="GET", path=SERVICES, who="staff")


class PlatformRoutes:
    """Answers from what the edge knows, without asking any service."""

    def __init__(self, routes: Routes, authenticator: Authenticator, checks: Checks) -> None:
        self._routes = routes
        self._authenticator = authenticator
        self._checks = checks
        self._documents = Documents(routes)

    def application(self, lifespan: Lifespan) -> Starlette:
        """The Starlette application of these routes."""
        app = Starlette(
            routes=[Route(path, answer, methods=["GET"]) for path, answer in self._answers().items()],
            exception_handlers=_HANDLERS,
            lifespan=lifespan,
        )
        app.router.redirect_slashes = False
        return app

    def _answers(self) -> dict[str, Answering]:
        """A load balancer is told how things are whatever it accepts."""
        return {
            HEALTH: self._healthz,
            READINESS: self._readyz,
            SERVICES: _serving(JSON, self._services),
            PROBLEM: _serving(JSON, self._problem),
            OPENAPI: _serving(JSON, self._document),
            ASYNCAPI: _serving(JSON, self._document),
            DOCS: _serving(b"text/html", self._document),
        }

    async def _healthz(self, request: Request) -> Response:
        return _said(Health(status="alive"))

    async def _readyz(self, request: Request) -> Response:
        missing = tuple(name for name, is_met in self._checks.items() if not is_met())
        readiness = Readiness(status="not ready" if missing else "ready", missing=missing)
        return _said(readiness, status=503 if missing else 200)

    async def _document(self, request: Request) -> Response:
        return self._documents.at(request.url.path)

    async def _services(self, request: Request) -> Response:
        authorization = request.headers.get("authorization")
        admit(_FOR_STAFF, await self._authenticator.caller(authorization.encode("latin-1") if authorization else None))
        return _said(roster.page(self._routes))

    async def _problem(self, request: Request) -> Response:
        slug = request.path_params["slug"]
        kinds = {kind.slug: kind for kind in (*self._kinds(), *problems.OF_THE_EDGE)}
        if slug not in kinds:
            raise RefusedError(problems.no_such_problem())
        kind = kinds[slug]
        return _said(ProblemKind(slug=slug, title=kind.title, status=kind.status))

    def _kinds(self) -> list[RefusalKind]:
        return [kind for _, offer in self._routes.registry.offers() for kind in offer.refusals]


def _serving(media_type: bytes, answer: Answering) -> Answering:
    """Answer who accepts this type."""

    async def serve(request: Request) -> Response:
        must_accept(request.headers.raw, media_type)
        return await answer(request)

    return serve


def _said(message: Message, *, status: int = 200) -> Response:
    return Response(status, message.model_dump_json().encode())


async def _refused(request: Request, error: RefusedError) -> Response:
    return problem(error.refusal, *error.headers, request_id=request.state.request_id)


async def _not_served(request: Request, error: HTTPException) -> Response:
    if error.status_code != 405:
        return problem(no_such_route(), request_id=request.state.request_id)
    allow = (b"allow", b"GET, HEAD, OPTIONS")
    if request.method == "OPTIONS":
        return Response(204, headers=(allow,))
    return problem(method_not_allowed(), allow, request_id=request.state.request_id)


async def _failed(request: Request, error: Exception) -> Response:
    return problem(internal_error(), request_id=request.state.request_id)


_HANDLERS: dict[Any, Any] = {RefusedError: _refused, HTTPException: _not_served, Exception: _failed}
