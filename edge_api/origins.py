"""Pages of other origins (CORS, in the Fetch standard).

Promise: pages of the origins that an operator names may ask and read the answers; browsers keep all others out. What a
browser asks before it asks (a preflight) is a request like any other: it has an id, a log line and a limit.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_api.problems import RefusedError, cross_origin_refused
from edge_api.responses import Response

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MAY_BE_SENT = ("Authorization", "Content-Type", "Idempotency-Key", "Prefer", "If-None-Match", "Last-Event-ID")
_MAY_BE_READ = ("ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id")
_OF_PREFLIGHTS = ("access-control-allow-methods", "access-control-allow-headers", "access-control-max-age")
_KEPT_FOR_SECONDS = 600


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks whether a page of another origin may ask."""
    if scope["method"] != "OPTIONS":
        return False
    names = {name for name, _ in scope["headers"]}
    return {b"origin", b"access-control-request-method"} <= names


class Origins(CORSMiddleware):
    """Says to browsers which pages may read what the application answers."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=_MAY_BE_SENT,
            expose_headers=_MAY_BE_READ,
            max_age=_KEPT_FOR_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.simple_response(scope, receive, send, request_headers=Headers(scope=scope))
        else:
            await self.app(scope, receive, send)

    def preflight(self, scope: Scope) -> Response:
        """What a page may ask. Raises RefusedError where it may not ask what it wants to."""
        said = self.preflight_response(request_headers=Headers(scope=scope))
        if said.status_code >= 400:
            raise RefusedError(cross_origin_refused(bytes(said.body).decode()))
        return Response(204, headers=tuple((name.encode(), said.headers[name].encode()) for name in _OF_PREFLIGHTS))
