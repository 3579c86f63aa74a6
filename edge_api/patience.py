"""A time limit on waiting, for many at once.

Promise: a wait that takes longer than it may is ended, at most TICK_SECONDS late; one that does not costs next to
nothing, because all share one timer. (An asyncio.timeout of its own is a tenth of what a request with a body costs.)
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

TICK_SECONDS = 0.5
_TOO_LONG = "waited too long"
Value = TypeVar("Value")


class Patience:
    """The tasks that wait, with the time at which each loses patience."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._ticking = False

    async def wait(self, awaited: Coroutine[Any, Any, Value], *, within: float) -> Value:
        """What is awaited. Raises TimeoutError."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - only tasks await
        self._waiting[task] = time.monotonic() + within
        if not self._ticking:
            self._tick()
        try:
            return await awaited
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (_TOO_LONG,):
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            self._waiting.pop(task, None)

    def _tick(self) -> None:
        now = time.monotonic()
        for task in [task for task, until in self._waiting.items() if until < now]:
            del self._waiting[task]
            task.cancel(_TOO_LONG)
        self._ticking = bool(self._waiting)
        if self._ticking:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
