"""The routes that the platform serves itself: is it well, who is there, what can be asked, what does a problem mean."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from contracts import presence
from contracts.base import RefusalKind
from edge_api import openapi, problems, roster
from edge_api.authentication import Authenticator, admit
from edge_api.problems import RefusedError, internal_error, method_not_allowed, no_such_route, problem
from edge_api.responses import Response
from edge_api.routing import Routes

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]
Checks = Mapping[str, Callable[[], bool]]
"""What readiness consists of, by name."""
HEALTH, READINESS, OPENAPI, SERVICES, PROBLEM = "/healthz", "/readyz", "/openapi.json", "/services", "/problems/{slug}"
_FOR_STAFF = presence.Route(method="GET", path=SERVICES, who="staff")
_EXACT = {HEALTH, READINESS, OPENAPI, SERVICES}


def template_of(path: str) -> str | None:
    """Which of these routes a path (or the template of a claim) would lead to; None if it is free for the services."""
    if path in _EXACT:
        return path
    return PROBLEM if path.startswith(PROBLEM.partition("{")[0]) else None


class PlatformRoutes:
    """Answers from what the edge knows, without asking any service."""

    def __init__(self, routes: Routes, authenticator: Authenticator, checks: Checks) -> None:
        self._routes = routes
        self._authenticator = authenticator
        self._checks = checks
        self._document = (-1, b"")

    def application(self, lifespan: Lifespan) -> Starlette:
        """The Starlette application of these routes."""
        app = Starlette(
            routes=[Route(path, answer, methods=["GET"]) for path, answer in self._answers().items()],
            exception_handlers=_HANDLERS,
            lifespan=lifespan,
        )
        app.router.redirect_slashes = False
        return app

    def _answers(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        return {
            HEALTH: self._healthz,
            READINESS: self._readyz,
            OPENAPI: self._openapi,
            SERVICES: self._services,
            PROBLEM: self._problem,
        }

    async def _healthz(self, request: Request) -> Response:
        return _json({"status": "alive"})

    async def _readyz(self, request: Request) -> Response:
        missing = [name for name, is_met in self._checks.items() if not is_met()]
        return _json(
            {"status": "not ready" if missing else "ready", "missing": missing}, status=503 if missing else 200
        )

    async def _openapi(self, request: Request) -> Response:
        generation = self._routes.registry.generation
        if self._document[0] != generation:
            self._document = (generation, json.dumps(openapi.document(self._routes.table.targets)).encode())
        return Response(200, self._document[1])

    async def _services(self, request: Request) -> Response:
        authorization = request.headers.get("authorization")
        admit(_FOR_STAFF, await self._authenticator.caller(authorization.encode("latin-1") if authorization else None))
        return _json(roster.page(self._routes))

    async def _problem(self, request: Request) -> Response:
        slug = request.path_params["slug"]
        kinds = {kind.slug: kind for kind in (*self._kinds(), *problems.OF_THE_EDGE)}
        if slug not in kinds:
            raise RefusedError(problems.no_such_problem())
        kind = kinds[slug]
        return _json({"slug": slug, "title": kind.title, "status": kind.status})

    def _kinds(self) -> list[RefusalKind]:
        return [kind for _, offer in self._routes.registry.offers() for kind in offer.refusals]


def _json(page: object, *, status: int = 200) -> Response:
    return Response(status, json.dumps(page).encode())


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
