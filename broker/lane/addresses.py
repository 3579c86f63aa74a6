"""Where each service sends its answers to.

Promise: one reply queue, but a key of its own for each service that is asked: a service that binds a queue of its own
to the key that it was given hears nothing but its own answers. (`replies` is a direct exchange, which knows no rights
by key.)
"""

import asyncio
from collections.abc import Awaitable, Callable

from broker import topology
from broker.ids import new_token


class ReplyAddresses:
    """The addresses of one connection; `bind` leads a key to its reply queue."""

    def __init__(self, owner: str, bind: Callable[[str], Awaitable[object]]) -> None:
        self._owner = owner
        self._bind = bind
        self._known: dict[str, str] = {}
        self._binding: dict[str, asyncio.Task[str]] = {}

    def get(self, topic: str) -> str | None:
        """The address for the service that answers this topic, if it was asked before."""
        return self._known.get(topic.partition(".")[0])

    async def make(self, topic: str) -> str:
        """The address, bound now. Who gives up waiting leaves the binding to the others. Raises what `bind` raises."""
        service = topic.partition(".")[0]
        if service not in self._binding:
            self._binding[service] = asyncio.create_task(self._make(service))
        return await asyncio.shield(self._binding[service])

    async def _make(self, service: str) -> str:
        key = topology.reply_queue(self._owner, new_token())
        try:
            await self._bind(key)
        except BaseException:
            del self._binding[service]
            raise
        self._known[service] = f"{key}|{topology.REPLIES}"
        return self._known[service]
