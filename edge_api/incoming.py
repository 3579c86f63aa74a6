"""A request's headers and body, as they come in.

Promise: a body is never buffered beyond its limit nor waited for without end. What nobody wants of it is read and
thrown away, within bounds, before the response goes out: a connection that is closed over unread bytes is reset, and
the client would see that instead of the response.
"""

import asyncio
import contextlib
import math

from starlette.types import Receive, Scope

from broker.shared_timer import SharedTimer
from edge_api.problems import RefusedError, body_too_large, body_too_slow

MAX_BODY = 1 << 20
BODY_WITHIN_SECONDS = 10.0
DISCARD_AT_MOST = 64 << 20
DISCARD_PAUSE_SECONDS = 1.0
"""How long nothing may come of a body that is thrown away, before it is answered."""


class ClientGoneError(Exception):
    """The client left before its request was complete."""


class Incoming:
    """One request; its body can be had once."""

    __slots__ = ("_begun", "_left", "_receive", "_timer", "headers")

    def __init__(self, scope: Scope, receive: Receive, timer: SharedTimer) -> None:
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self._timer = timer
        self._begun = False
        length = self.headers.get(b"content-length", b"")
        self._left = int(length) if length.isdigit() else math.inf
        """How many bytes are still to come, at most."""

    async def body(self) -> bytes:
        """All of the body. Raises RefusedError, ClientGoneError."""
        if MAX_BODY < self._left < math.inf:
            raise RefusedError(body_too_large())
        try:
            return await self._timer.wait(self._read(), within=BODY_WITHIN_SECONDS)
        except TimeoutError:
            self._left = 0
            raise RefusedError(body_too_slow()) from None

    async def discard(self) -> None:
        """Throw away what was not read; nothing of a body that the client only sends once it is told to continue."""
        waits_for_us = b"expect" in self.headers and not self._begun
        if not self._left or waits_for_us or not self._announced():
            return
        left = DISCARD_AT_MOST
        now = asyncio.get_running_loop().time
        until = now() + BODY_WITHIN_SECONDS
        with contextlib.suppress(TimeoutError, ClientGoneError):
            async with asyncio.timeout(None) as pausing:
                while self._left and left > 0:
                    pausing.reschedule(min(now() + DISCARD_PAUSE_SECONDS, until))
                    left -= len(await self._next())

    async def gone(self) -> None:
        """Wait until the client leaves."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _read(self) -> bytes:
        body = bytearray(await self._next())
        while self._left and len(body) <= MAX_BODY:
            body += await self._next()
        if len(body) > MAX_BODY:
            raise RefusedError(body_too_large())
        return bytes(body)

    async def _next(self) -> bytes:
        self._begun = True
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._left = 0
            raise ClientGoneError
        chunk: bytes = message.get("body") or b""
        # Granian says only with one more message, and so one more turn of the loop, that this was all.
        self._left = max(self._left - len(chunk), 0) if message.get("more_body", False) else 0
        return chunk

    def _announced(self) -> bool:
        return self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers
