"""A limit on waiting, for many at once."""

import asyncio
import contextlib
import time

import pytest

from broker.shared_timer import SharedTimer, TimeIsUpError

TICK = 0.02


async def after(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def test_what_comes_in_time_is_returned() -> None:
    assert await SharedTimer(tick=TICK).wait(after(0.05), within=5) == 0.05


async def test_each_wait_has_a_limit_of_its_own() -> None:
    waits, started = SharedTimer(tick=TICK), time.monotonic()
    long = asyncio.create_task(waits.wait(after(0.3), within=5))
    with pytest.raises(TimeIsUpError):
        await waits.wait(after(30), within=0.05)
    assert time.monotonic() - started < 0.3
    assert await long == 0.3


async def test_after_a_pause_it_ends_waits_as_before() -> None:
    waits = SharedTimer(tick=TICK)
    for _ in range(2):
        with pytest.raises(TimeIsUpError):
            await waits.wait(after(30), within=0.05)
        await asyncio.sleep(0.1)


async def test_whose_time_was_up_can_wait_for_something_else() -> None:
    with pytest.raises(TimeIsUpError):
        await SharedTimer(tick=TICK).wait(after(30), within=0.05)
    assert await after(0.01) == 0.01
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_wait_that_somebody_else_cancels_is_cancelled() -> None:
    task = asyncio.create_task(SharedTimer(tick=TICK).wait(after(30), within=5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_at_the_moment_when_time_is_up_is_cancelled() -> None:
    task = asyncio.create_task(SharedTimer(tick=TICK).wait(stubborn(0.1), within=0))
    await asyncio.sleep(2 * TICK)
    assert task.cancelling() == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_takes_no_notice_of_the_end_is_returned() -> None:
    assert await SharedTimer(tick=TICK).wait(stubborn(0.1), within=0) == 0.1
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_wait_that_has_no_time_left_and_ends_at_once_leaves_nothing_behind() -> None:
    assert await SharedTimer(tick=TICK).wait(at_once(), within=-1) == "done"
    assert await after(0.01) == 0.01


async def test_who_was_cancelled_before_and_took_no_notice_has_a_limit_still() -> None:
    async def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await after(30)
        with pytest.raises(TimeIsUpError):
            await SharedTimer(tick=TICK).wait(after(30), within=0)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await task


async def test_a_timeout_of_what_is_awaited_is_its_own() -> None:
    with pytest.raises(TimeoutError) as timeout:
        await SharedTimer(tick=TICK).wait(impatient(), within=5)
    assert not isinstance(timeout.value, TimeIsUpError)


async def stubborn(seconds: float) -> float:
    with contextlib.suppress(asyncio.CancelledError):
        await after(30)
    return await after(seconds)


async def impatient() -> None:
    raise TimeoutError


async def at_once() -> str:
    return "done"
