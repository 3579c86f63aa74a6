"""One timer for any number of deadlines."""

import asyncio
import random
import time

import pytest

from broker.lane.deadlines import GRAIN, Deadlines


class LateError(Exception):
    """It is too late."""


@pytest.fixture
def deadlines() -> Deadlines:
    """Deadlines whose errors are known."""
    return Deadlines(LateError)


def _future() -> asyncio.Future[float]:
    return asyncio.get_running_loop().create_future()


async def test_each_fails_soon_after_its_deadline_and_never_before(deadlines: Deadlines) -> None:
    began, failed = time.monotonic(), dict[float, float]()

    async def wait(within: float) -> None:
        future = _future()
        deadlines.add(future, within=within)
        with pytest.raises(LateError):
            await future
        failed[within] = time.monotonic() - began

    await asyncio.gather(*(wait(random.Random(number).uniform(0, 0.3)) for number in range(200)))
    assert all(took >= within for within, took in failed.items())
    assert max(took - within for within, took in failed.items()) < 2 * GRAIN + 2  # a machine may be busy


async def test_what_is_done_in_time_does_not_fail(deadlines: Deadlines) -> None:
    done, late = _future(), _future()
    deadlines.add(done, within=0.03)
    deadlines.add(late, within=0.06)
    done.set_result(1.0)
    with pytest.raises(LateError):
        await late
    assert done.result() == 1.0


async def test_what_was_given_up_does_not_fail(deadlines: Deadlines) -> None:
    given_up, late = _future(), _future()
    deadlines.add(given_up, within=0.03).discard(given_up)
    deadlines.add(late, within=0.06)
    with pytest.raises(LateError):
        await late
    assert not given_up.done()


async def test_a_deadline_that_has_passed_already_fails_at_the_next_tick(deadlines: Deadlines) -> None:
    late = _future()
    deadlines.add(late, within=-5)
    with pytest.raises(LateError):
        await asyncio.wait_for(late, 1)


async def test_what_is_done_takes_no_room_however_far_its_deadline_is(deadlines: Deadlines) -> None:
    for hours in range(1, 1000):
        future = _future()
        deadlines.add(future, within=hours * 3600.0).discard(future)
    last = _future()
    deadlines.add(last, within=0.03)
    with pytest.raises(LateError):
        await last
    assert deadlines._slots == {}


async def test_without_deadlines_there_is_no_timer(deadlines: Deadlines) -> None:
    for _ in range(2):
        late = _future()
        deadlines.add(late, within=0.01)
        assert deadlines._timer is not None
        with pytest.raises(LateError):
            await late
        assert deadlines._timer is None
