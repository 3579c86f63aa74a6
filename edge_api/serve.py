"""Serving HTTP: granian in this process, on uvloop.

Promise: told to stop (SIGTERM, SIGINT), it asks its clients to go, lets what runs finish, and closes the connection to
the broker last. The port is one socket's: a port that is taken is said in one sentence (granian alone would share it in
silence, by SO_REUSEPORT). An edge that is handed the socket (HEDGEROW_LISTEN_FD) takes turns with whoever else has it,
once it is ready; what waits in its queue is lost with none of them.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import uvloop
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import AsyncWorker, Server
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.telemetry import log
from edge_api.app import edge
from edge_api.door import Door
from edge_api.listening import BACKLOG, listen
from edge_api.origins import Origins
from edge_api.settings import Settings
from edge_api.streams import MOST

CONCURRENT_REQUESTS = 4096 + MOST
READY_WITHIN_SECONDS = 3.0
LEAVE_WITHIN_SECONDS, QUIET_SECONDS = 3.0, 0.5
FINISH_WITHIN_SECONDS = 15.0
CLOSE_WITHIN_SECONDS = 1.0
HEADERS_WITHIN_SECONDS = 10
HEADERS_AT_MOST = 64 << 10
"""Bytes. What a connection may fill before anybody looks at it, so it bounds what thousands of them hold."""
_STRICT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def serve(settings: Settings) -> None:
    """Serve until told to stop. Raises BadSettingError where the address can't be had."""
    handed = settings.listen_fd
    with listen(settings.host, settings.port) if handed is None else socket.socket(fileno=handed) as listener:
        uvloop.run(_serve(settings, listener))


async def _serve(settings: Settings, listener: socket.socket) -> None:
    door = edge(settings)
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with door.alive():
        if settings.listen_fd is not None:
            await _until(lambda: door.is_ready, within=READY_WITHIN_SECONDS)
        server = _server(door, settings, listener)
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
    if settings.cors_origins:
        app = door.origins = Origins(door, settings.cors_origins)
    if settings.certificate is not None:
        app = Strict(app)
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


class _Server(Server):
    """Granian on a socket of ours; its worker closes a copy when it ends."""

    listener: socket.socket
    _copy = -1

    def _init_shared_socket(self) -> None:
        self._shd = self._ssp = None

    def _spawn_worker(self, *arguments: Any, **more: Any) -> AsyncWorker:
        self._copy = os.dup(self.listener.fileno())
        holder: Any = SocketHolder
        self._shd = holder(self._copy, False, BACKLOG)
        return super()._spawn_worker(*arguments, **more)

    def stop_accepting(self) -> None:
        """Accept nothing more, without a word to the connections that there are. Granian can't: when it stops, it also
        closes those that it has just accepted, before it reads what they ask. So its copy becomes a socket to which
        nobody comes; what waits in the queue of the real one is for others, or is refused where there are none."""
        if os.path.sameopenfile(self._copy, self.listener.fileno()):
            with socket.socket() as deserted:
                deserted.setblocking(False)
                deserted.listen()
                os.dup2(deserted.fileno(), self._copy, inheritable=False)
        self.listener.close()


def _server(door: Door, settings: Settings, listener: socket.socket) -> _Server:
    files = settings.certificate
    server = _Server(
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
    listener.setblocking(False)
    server.listener = listener
    return server


async def _finish(server: _Server, serving: asyncio.Task[None], door: Door) -> None:
    """First, who asks is answered that the connection ends: one that granian closes between two requests would fail the
    second. And granian alone would also wait for clients that began to send a request and went silent."""
    door.is_leaving = True
    server.stop_accepting()
    await _until(lambda: time.perf_counter() - door.last_asked > QUIET_SECONDS, within=LEAVE_WITHIN_SECONDS)
    door.streams.close()
    server.stop()  # type: ignore[no-untyped-call]
    await _until(lambda: not door.in_progress, within=FINISH_WITHIN_SECONDS)
    await asyncio.wait([serving], timeout=CLOSE_WITHIN_SECONDS)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def _until(check: Callable[[], bool], *, within: float) -> None:
    """Look again and again, for at most so many seconds: an event would burden every request."""
    until = time.monotonic() + within
    while not check() and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
