"""Where every HTTP request comes in.

Promise: each gets an id of its own (a client's X-Request-Id is not it: inside the platform two requests with one id
have one effect), exactly one response, one log line and one count; an unexpected error is logged once and tells the
client nothing.
"""

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType

import uuid_utils
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from broker.shared_timer import SharedTimer
from broker.telemetry import log
from edge_api.gateway import Visit
from edge_api.incoming import ClientGoneError, Incoming
from edge_api.limits import Limits
from edge_api.origins import Origins, is_preflight
from edge_api.platform_paths import UNLIMITED, template_of
from edge_api.platform_routes import Checks
from edge_api.problems import RefusedError, body_incomplete, internal_error, problem
from edge_api.responses import Response
from edge_api.streams import EventStream, Streams
from edge_api.telemetry import CLIENT_GONE, Telemetry
from edge_api.traced import Answers


class Door:
    """The ASGI application: the platform's own routes go to Starlette, all others straight to the gateway."""

    def __init__(
        self,
        gateway: Answers,
        platform: Starlette,
        limits: Limits,
        streams: Streams,
        checks: Checks = MappingProxyType({}),
    ) -> None:
        self._gateway = gateway
        self.streams = streams
        self._limits = limits
        self._platform = platform
        self._checks = checks
        self.telemetry = Telemetry()
        self._timer = SharedTimer()
        self.origins: Origins | None = None
        """The pages of other origins that may ask, if any may."""
        self.in_progress = 0
        """How many requests are being answered."""
        self.last_asked = -math.inf
        """When the last of them came in, by `time.perf_counter`."""
        self.is_leaving = False
        """Whether each answer is the last on its connection."""

    @property
    def is_ready(self) -> bool:
        """Whether it could answer what it will be asked."""
        return all(is_met() for is_met in self._checks.values())

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """What runs as long as the edge does, for a server that leaves the lifespan to us."""
        try:
            async with self._platform.router.lifespan_context(self._platform):
                yield
        finally:
            self.telemetry.flush()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._platform(scope, receive, send)
            return
        self.in_progress += 1
        started, visit, status = time.perf_counter(), Visit(str(uuid_utils.uuid7())), CLIENT_GONE
        self.last_asked = started
        if self.is_leaving:
            send = _last(send)
        try:
            preflighted = self.origins if self.origins is not None and is_preflight(scope) else None
            if preflighted is None and (template := template_of(scope["path"])):
                visit.route = template
                status = await self._serve_platform(scope, receive, send, visit)
            else:
                incoming = Incoming(scope, receive, self._timer)
                response = await self._response(scope, incoming, visit, preflighted)
                status, visit.is_stream = response.status, isinstance(response, EventStream)
                await incoming.discard()
                head = scope["method"] == "HEAD"
                await response.send(send, request_id=visit.request_id, head=head, more=visit.headers)
        except ClientGoneError:
            status = CLIENT_GONE
            # A body whose chunks make no sense looks the same from here, and then somebody still reads.
            answer = problem(body_incomplete(), request_id=visit.request_id)
            await answer.send(send, request_id=visit.request_id, head=False)
        finally:
            self.in_progress -= 1
            self.telemetry.note(visit, scope["method"], status, started=started)

    async def _response(
        self, scope: Scope, incoming: Incoming, visit: Visit, preflighted: Origins | None
    ) -> Response | EventStream:
        try:
            if preflighted is not None:
                visit.headers = await self._limits.count(self._limits.let_in(scope, incoming.headers))
                return preflighted.preflight(scope)
            return await self._gateway.answer(scope, incoming, visit)
        except RefusedError as error:
            return problem(error.refusal, *error.headers, request_id=visit.request_id)
        except ClientGoneError:
            raise
        except Exception:
            log.exception("a request failed", route=visit.route, request_id=visit.request_id)
            return problem(internal_error(), request_id=visit.request_id)

    async def _serve_platform(self, scope: Scope, receive: Receive, send: Send, visit: Visit) -> int:
        status = CLIENT_GONE

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        scope.setdefault("state", {})["request_id"] = visit.request_id
        try:
            if visit.route not in UNLIMITED:
                await self._limits.count(self._limits.let_in(scope, dict(scope["headers"])))
            await self._platform(scope, receive, noting)
        except RefusedError as error:
            response = problem(error.refusal, *error.headers, request_id=visit.request_id)
            await response.send(noting, request_id=visit.request_id, head=scope["method"] == "HEAD")
        except Exception:  # Starlette answers it and raises it again
            log.exception("a request failed", route=visit.route, request_id=visit.request_id)
        return status


def _last(send: Send) -> Send:
    """The same, with the word to the client that this connection ends (RFC 9112, 9.6)."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return sending
