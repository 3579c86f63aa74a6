"""Waiting for something to become true, instead of sleeping and hoping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Value = TypeVar("Value")


async def eventually(check: Callable[[], Awaitable[Value]], *, within: float = 5, every: float = 0.02) -> Value:
    """Call `check` until it neither raises AssertionError nor returns something false; its last answer or error."""
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
