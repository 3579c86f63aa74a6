"""What runs as long as the edge does.

Promise: the connections to the broker and the tasks beside them start and end with the edge; a task that ends by itself
is a defect, so it ends the edge rather than leaving it half alive.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from typing import Any

from starlette.applications import Starlette

from broker.exposition import telling
from broker.gauges import Gauge
from broker.reconnecting import Reconnecting
from broker.telemetry import log

Forever = Callable[[], Coroutine[Any, Any, None]]


def lifespan_of(
    links: Collection[Reconnecting[Any]], gauges: Iterable[Gauge], *runs: Forever
) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
    """A lifespan that keeps these links and tasks, and has these gauges on the page of metrics."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        for link in links:
            await link.start()
        tasks = [asyncio.create_task(run()) for run in runs]
        for task in tasks:
            task.add_done_callback(_must_not_end)
        try:
            with telling(gauges):
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(link.close() for link in links))

    return lifespan


def _must_not_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.critical(
            "a task of the edge ended, so the edge ends", task=repr(task.get_coro()), exc_info=task.exception()
        )
        signal.raise_signal(signal.SIGTERM)
