"""A way to an HTTP server on which answers get lost or garbled, after the server has done what it was asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from tests.support.serving import serving


class Forwarder:
    """At `url`; loses or garbles one answer to each of the requests (`POST /v1/refunds`) in these sets."""

    def __init__(self, target: str, session: aiohttp.ClientSession) -> None:
        self.url = ""
        self.to_lose: set[str] = set()
        self.to_garble: set[str] = set()
        self._target = target
        self._session = session

    async def forward(self, request: web.Request) -> web.Response:
        """Ask the server behind."""
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        asked = self._session.request(
            request.method, self._target + request.path_qs, headers=headers, data=await request.read()
        )
        async with asked as answer:
            body = await answer.read()
        line = f"{request.method} {request.path}"
        if line in self.to_lose:
            self.to_lose.remove(line)
            assert request.transport is not None
            request.transport.abort()
        if line in self.to_garble:
            self.to_garble.remove(line)
            body = body[: len(body) // 2]
        return web.Response(status=answer.status, body=body, content_type="application/json")


@asynccontextmanager
async def forwarding(target: str) -> AsyncIterator[Forwarder]:
    """One that listens."""
    async with aiohttp.ClientSession() as session:
        it = Forwarder(target, session)
        async with serving(it.forward) as it.url:
            yield it
