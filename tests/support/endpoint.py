"""An HTTP endpoint that remembers what was posted to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


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
async def endpoint() -> AsyncIterator[Endpoint]:
    """One that listens."""
    it: Any = Endpoint()
    app = web.Application()
    app.router.add_post("/", it.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield it
    finally:
        await runner.cleanup()
