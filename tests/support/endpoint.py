"""An HTTP endpoint that remembers what was posted to it."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.serving import serving


@dataclass
class Endpoint:
    """`failures` is how many of the next posts are answered with 500."""

    url: str = ""
    failures: int = 0
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        """Remember one post."""
        self.posts.append((dict(request.headers), await request.read()))
        if self.failures:
            self.failures -= 1
            return web.Response(status=500)
        return web.Response(status=204)


@asynccontextmanager
async def endpoint(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    """One that listens."""
    it = Endpoint()
    async with serving(it.take, tls=tls) as url:
        it.url = f"{url}/"
        yield it
