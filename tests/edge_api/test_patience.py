"""A limit on waiting, for many at once."""

import asyncio
import time

import pytest

from edge_api import patience
from edge_api.patience import Patience


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "TICK_SECONDS", 0.02)


async def after(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def test_what_comes_in_time_is_returned() -> None:
    assert await Patience().wait(after(0.05), within=5) == 0.05


async def test_each_wait_has_a_limit_of_its_own() -> None:
    waits, started = Patience(), time.monotonic()
    long = asyncio.create_task(waits.wait(after(0.3), within=5))
    with pytest.raises(TimeoutError):
        await waits.wait(after(30), within=0.05)
    assert time.monotonic() - started < 0.3
    assert await long == 0.3


async def test_after_a_pause_it_loses_patience_as_before() -> None:
    waits = Patience()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await waits.wait(after(30), within=0.05)
        await asyncio.sleep(0.1)


async def test_who_lost_patience_can_wait_for_something_else() -> None:
    with pytest.raises(TimeoutError):
        await Patience().wait(after(30), within=0.05)
    assert await after(0.01) == 0.01
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_wait_that_somebody_else_cancels_is_cancelled() -> None:
    task = asyncio.create_task(Patience().wait(after(30), within=5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
