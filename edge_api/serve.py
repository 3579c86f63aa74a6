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
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from broker.telemetry import log
from edge_api.app import edge
from edge_api.door import Door
from edge_api.settings import BadSettingError, Settings

CONCURRENT_REQUESTS = 4096
BACKLOG = 1024  # a connection that finds no room is tried again by its client's kernel a second later
FINISH_WITHIN_SECONDS = 15.0
CLOSE_WITHIN_SECONDS = 1.0


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
        log.info("the edge begins to listen", url=f"http://{settings.host}:{settings.port}")
        serving = asyncio.create_task(server.serve())
        waiting = asyncio.create_task(told_to_stop.wait())
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await _finish(server, serving, door)
    log.info("the edge has stopped")


def _server(door: Door, settings: Settings) -> Server:
    return Server(
        door,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGINL,  # the lifespan is ours: the broker's connection outlives the last request
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=CONCURRENT_REQUESTS,
        log_level=LogLevels.error,
    )


async def _finish(server: Server, serving: asyncio.Task[None], door: Door) -> None:
    """Granian alone would also wait for clients that began to send a request and went silent."""
    server.stop()  # type: ignore[no-untyped-call]
    until = time.monotonic() + FINISH_WITHIN_SECONDS
    while door.in_progress and time.monotonic() < until:  # noqa: ASYNC110 - an event would burden every request
        await asyncio.sleep(0.02)
    await asyncio.wait([serving], timeout=CLOSE_WITHIN_SECONDS)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
