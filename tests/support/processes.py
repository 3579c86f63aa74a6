"""Services as processes of their own, to be killed."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

Spawn = Callable[..., Coroutine[Any, Any, Process]]


@asynccontextmanager
async def spawning(module: str) -> AsyncIterator[Spawn]:
    """`await spawn(amqp, HOLD="1")` runs the module with these settings; whatever still runs at the end is killed."""
    async with AsyncExitStack() as stack:

        async def spawn(amqp: str, **settings: str) -> Process:
            environment = {**os.environ, "HEDGEROW_AMQP_URL": amqp, **settings}
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, env=environment)
            stack.push_async_callback(_end, process)
            return process

        yield spawn


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
