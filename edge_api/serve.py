"""Serving HTTP: granian in this process, on uvloop.

Promise: SIGTERM and SIGINT stop accepting, let what runs finish, and close the connection to the broker last. A port
that is taken is said in one sentence; granian alone would share it in silence, because it listens with SO_REUSEPORT.
"""

import asyncio
import contextlib
import errno
import signal
import socket

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from broker.telemetry import log
from edge_api.app import edge
from edge_api.settings import BadSettingError, Settings

CONCURRENT_REQUESTS = 4096
FINISH_WITHIN_SECONDS = 15


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
    server = Server(
        edge(settings),
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backpressure=CONCURRENT_REQUESTS,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        log_level=LogLevels.error,
    )
    log.info("the edge begins to listen", url=f"http://{settings.host}:{settings.port}")
    serving = asyncio.create_task(server.serve())
    _stop_on_signals(server, serving)
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    log.info("the edge has stopped")


def _stop_on_signals(server: Server, serving: asyncio.Task[None]) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.stop()  # type: ignore[no-untyped-call]
        loop.call_later(FINISH_WITHIN_SECONDS, serving.cancel)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
