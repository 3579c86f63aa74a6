"""One timer for any number of deadlines.

Promise: what is not done by its deadline fails at most two `GRAIN`s later, and never before; adding and removing cost
the same however many there are; what is done takes no room, however late its deadline is.
"""

import asyncio
from collections.abc import Callable
from typing import Any

GRAIN = 0.02
"""Seconds. Deadlines that fall into the same grain share a slot."""


class Deadlines:
    """Futures by the time at which they fail, with what `error` makes."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        self._error = error
        self._slots: dict[int, set[asyncio.Future[Any]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, future: asyncio.Future[Any], *, within: float) -> set[asyncio.Future[Any]]:
        """Let it fail after so many seconds; who is done with it discards it from the slot that is returned."""
        loop = asyncio.get_running_loop()
        slot = self._slots.setdefault(int((loop.time() + within) / GRAIN) + 1, set())
        slot.add(future)
        if self._timer is None:
            self._timer = loop.call_later(GRAIN, self._tick, loop)
        return slot

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = int(loop.time() / GRAIN)
        for due in [slot for slot, futures in self._slots.items() if slot <= now or not futures]:
            for future in self._slots.pop(due):
                if not future.done():
                    future.set_exception(self._error())
        self._timer = loop.call_later(GRAIN, self._tick, loop) if self._slots else None
