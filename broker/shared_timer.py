"""A time limit on waiting, for many at once.

Promise: a wait that takes longer than it may is ended, at most a tick late; one that does not costs next to nothing,
because all share one timer. (An asyncio.timeout of its own is a tenth of what a request costs.)
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

Value = TypeVar("Value")


class TimeIsUpError(TimeoutError):
    """It takes longer than it may."""


class SharedTimer:
    """The tasks that wait, each for one thing at a time, with the time at which it is up."""

    def __init__(self, *, tick: float = 0.5) -> None:
        self._tick_seconds = tick
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._ticking = False

    async def wait(self, awaited: Coroutine[Any, Any, Value], *, within: float) -> Value:
        """What is awaited. Raises TimeIsUpError."""
        task = asyncio.current_task()
        assert task is not None and task not in self._waiting  # noqa: S101, PT018 - only tasks await
        self._waiting[task], cancelled_before = time.monotonic() + within, task.cancelling()
        if not self._ticking:  # not at once: a task can't cancel itself
            self._tick_later()
        try:
            return await awaited
        except asyncio.CancelledError:
            if task in self._waiting or task.cancelling() > cancelled_before + 1:  # somebody else cancels, too
                raise
            raise TimeIsUpError from None
        finally:
            if self._waiting.pop(task, None) is None:
                task.uncancel()

    def _tick(self) -> None:
        now = time.monotonic()
        for task in [task for task, until in self._waiting.items() if until < now]:
            del self._waiting[task]
            task.cancel()
        self._ticking = False
        if self._waiting:
            self._tick_later()

    def _tick_later(self) -> None:
        self._ticking = True
        asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)
