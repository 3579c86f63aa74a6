"""Serving HTTP: granian in this process, on uvloop.

Promise: SIGTERM and SIGINT stop accepting, let what runs finish, and close the connection to the broker last. A port
that is taken is said in one sentence; granian alone would share it in silence, because it listens with SO_REUSEPORT.
"""

import asyncio
import contextlib
import errno
import gc
import signal
import socket
import time

import uvloop
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.telemetry import log
from edge_api.app import edge
from edge_api.door import Door
from edge_api.settings import BadSettingError, Settings
from edge_api.streams import MOST

CONCURRENT_REQUESTS = 4096 + MOST
BACKLOG = 1024  # a connection that finds no room is tried again by its client's kernel a second later
FINISH_WITHIN_SECONDS = 15.0
CLOSE_WITHIN_SECONDS = 1.0
HEADERS_WITHIN_SECONDS = 10
HEADERS_AT_MOST = 64 << 10
"""Bytes. What a connection may fill before anybody looks at it, so it bounds what thousands of them hold."""
_STRICT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def serve(settings: Settings) -> None:
    """Serve until told to stop. Raises BadSettingError where the address can't be had."""
    check_address(settings.host, settings.port)
    uvloop.run(_serve(settings))


def check_address(host: str, port: int) -> None:
    """Raises BadSettingError if nobody could listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"can't be used ({error.strerror})"
        raise BadSettingError(f"Port {port} on {host} {reason}; set HEDGEROW_PORT to a free one.") from None


async def _serve(settings: Settings) -> None:
    door = edge(settings)
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with door.alive():
        server = _server(door, settings)
        gc.collect()
        gc.freeze()  # else a full collection stops everything for 50 ms, to find that the modules are still there
        scheme = "http" if settings.certificate is None else "https"
        log.info("the edge begins to listen", url=f"{scheme}://{settings.host}:{settings.port}")
        serving = asyncio.create_task(server.serve())
        watching = asyncio.create_task(settings.certificate.watch(server.reload)) if settings.certificate else None
        waiting = asyncio.create_task(told_to_stop.wait())
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if watching is not None:
            watching.cancel()
        await _finish(server, serving, door)
    log.info("the edge has stopped")


def outermost(door: Door, settings: Settings) -> ASGIApp:
    """The door, behind what only some edges have."""
    app: ASGIApp = door
    if settings.certificate is not None:
        app = Strict(app)
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=(
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "Prefer",
                "If-None-Match",
                "Last-Event-ID",
            ),
            expose_headers=("ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"),
            max_age=600,
        )
    return app


class Strict:
    """Tells browsers to come by HTTPS only (RFC 6797); not who came to `localhost`, where other programs speak HTTP."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], _STRICT]
            await send(message)

        is_local = (b"host", b"localhost") in ((name, value.partition(b":")[0]) for name, value in scope["headers"])
        await self._app(scope, receive, send if is_local else sending)


def _server(door: Door, settings: Settings) -> Server:
    files = settings.certificate
    return Server(
        outermost(door, settings),
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGINL,  # the lifespan is ours: the broker's connection outlives the last request
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=CONCURRENT_REQUESTS,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADERS_WITHIN_SECONDS * 1000, max_buffer_size=HEADERS_AT_MOST
        ),
        ssl_cert=files.chain if files else None,
        ssl_key=files.key if files else None,
        ssl_protocol_min=SSLProtocols.tls12,
        log_level=LogLevels.error,
    )


async def _finish(server: Server, serving: asyncio.Task[None], door: Door) -> None:
    """Granian alone would also wait for clients that began to send a request and went silent."""
    door.streams.close()
    server.stop()  # type: ignore[no-untyped-call]
    until = time.monotonic() + FINISH_WITHIN_SECONDS
    while door.in_progress and time.monotonic() < until:  # noqa: ASYNC110 - an event would burden every request
        await asyncio.sleep(0.02)
    await asyncio.wait([serving], timeout=CLOSE_WITHIN_SECONDS)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
