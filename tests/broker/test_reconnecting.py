"""Connections that come back, whatever they are made of."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from broker import reconnecting
from broker.reconnecting import BrokerAwayError, LoginRefusedError, Reconnecting
from tests.support.eventually import eventually


class Line:
    """A connection that can be cut."""

    def __init__(self, cut: Callable[[], None]) -> None:
        self.cut = cut
        self.closed = False

    async def close(self) -> None:
        """Hang up."""
        self.closed = True
        self.cut()


class Lines(Reconnecting[Line]):
    """Makes lines; where `refusals` has something, that is what happens instead."""

    def __init__(self) -> None:
        super().__init__("amqp://nowhere/", name="tests")
        self.made: list[Line] = []
        self.refusals: list[Exception] = []

    async def _dial(self, lost: Callable[[], None]) -> Line:
        if self.refusals:
            raise self.refusals.pop(0)
        self.made.append(Line(lost))
        return self.made[-1]


async def _up(lines: Lines) -> Lines:
    await lines.start()
    await lines.wait_up(within=5)
    return lines


async def test_what_is_lost_is_down_at_once_and_says_so_once() -> None:
    lines, story = Lines(), list[str]()
    lines.on_loss(lambda: story.append("lost"))
    await _up(lines)
    lines.made[0].cut()
    assert (lines.is_up, story) == (False, ["lost"])
    lines.made[0].cut()
    waiting = asyncio.create_task(lines.wait_up(within=5))
    await asyncio.sleep(0)
    assert not waiting.done()
    await waiting
    assert (len(lines.made), lines.made[0].closed, story) == (2, True, ["lost"])
    await lines.close()
    assert story == ["lost", "lost"]


async def test_an_earlier_connection_can_not_end_a_later_one() -> None:
    lines = await _up(Lines())
    lines.made[0].cut()
    await lines.wait_up(within=5)
    lines.made[0].cut()
    assert lines.is_up
    await lines.close()


async def test_a_connection_that_is_lost_while_it_is_set_up_never_counts_as_up() -> None:
    lines = Lines()

    async def lose_the_first(line: Line) -> None:
        if len(lines.made) == 1:
            line.cut()

    lines.on_connect(lose_the_first)
    await _up(lines)
    assert len(lines.made) == 2
    await lines.close()


async def test_it_backs_off_with_jitter_and_not_for_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, sleep = list[float](), asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr("asyncio.sleep", note)
    lines = Lines()
    lines.refusals = [BrokerAwayError("away") for _ in range(40)]
    await _up(lines)
    await lines.close()
    assert len(set(waits)) == len(waits) == 40
    for failures, seconds in enumerate(waits, start=1):
        longest = min(reconnecting.MAX_BACK_OFF, 0.1 * 2**failures)
        assert longest / 2 <= seconds <= longest


async def test_a_refused_login_is_told_at_once_and_tried_again() -> None:
    lines = Lines()
    lines.refusals = [LoginRefusedError("no")]
    await lines.start()
    with pytest.raises(LoginRefusedError, match="may not do this: no"):
        await lines.wait_up(within=30)

    async def back() -> bool:
        return lines.is_up

    await eventually(back)
    await lines.wait_up(within=0)
    await lines.close()


async def test_a_setup_that_is_refused_is_told_although_its_channel_ended_first() -> None:
    lines = Lines()

    async def be_refused(line: Line) -> None:
        line.cut()
        raise LoginRefusedError("not this")

    lines.on_connect(be_refused)
    await lines.start()
    with pytest.raises(LoginRefusedError, match="not this"):
        await lines.wait_up(within=30)
    await lines.close()


async def test_closing_ends_also_a_setup_that_swallows_the_first_cancellation() -> None:
    lines, swallowed = Lines(), asyncio.Event()

    async def swallow(_: Line) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        swallowed.set()

    lines.on_connect(swallow)
    await lines.start()

    async def dialled() -> bool:
        return bool(lines.made)

    await eventually(dialled)
    await asyncio.wait_for(lines.close(), 3)
    assert swallowed.is_set()
    assert (len(lines.made), lines.made[0].closed, lines.is_up) == (1, True, False)


async def test_closing_what_never_began_is_harmless() -> None:
    await Lines().close()


async def test_closing_ends_the_wait_between_two_tries() -> None:
    lines = Lines()
    lines.refusals = [BrokerAwayError("away")] * 100
    await lines.start()
    with pytest.raises(BrokerAwayError):
        await lines.wait_up(within=0.05)
    await asyncio.wait_for(lines.close(), 0.4)
    assert lines._task is not None
    assert lines._task.done()
