"""Waiting for something to become true, instead of sleeping and hoping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Value = TypeVar("Value")


SLOWEST = 0.2
"""Seconds between two looks, when what is waited for takes long: many tests wait at once, and looking costs."""


async def eventually(check: Callable[[], Awaitable[Value]], *, within: float = 5, every: float = 0.02) -> Value:
    """Call `check` until it neither raises AssertionError nor returns something false; its last answer or error. The
    pauses begin with `every`, and each is a fifth longer than the one before."""
    until = time.monotonic() + within
    while True:
        try:
            value = await check()
        except AssertionError:
            if time.monotonic() > until:
                raise
        else:
            if value:
                return value
            assert time.monotonic() < until, f"still {value!r} after {within} s"
        await asyncio.sleep(every)
        every = max(every, min(every * 1.2, SLOWEST))
