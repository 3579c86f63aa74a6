"""Asking once more, and only where that is harmless."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from broker.lane import (
    Answer,
    Ask,
    ConnectionLostError,
    DeadlinePassedError,
    NobodyThereError,
    OverloadedError,
    Request,
)
from broker.lane.repeating import BURST, SHARE, Repeating
from broker.reconnecting import BrokerAwayError, LoginRefusedError, Reconnecting
from contracts.base import Operation
from tests.broker.lane.words import Echo, Hold, Say
from tests.support.counting import Counting

LOST = ConnectionLostError("lost")


class Scripted:
    """Answers as it was told, in turn."""

    def __init__(self, *outcomes: Answer | Exception) -> None:
        self.asked: list[Request] = []
        self._outcomes: Sequence[Answer | Exception] = outcomes

    async def request(self, request: Request) -> Answer:
        """The next outcome."""
        self.asked.append(request)
        outcome = self._outcomes[len(self.asked) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Standing(Reconnecting[Any]):
    """A link that is up after so many seconds, or refused."""

    def __init__(self, after: float = 0.0, *, refused: bool = False) -> None:
        super().__init__("amqp://nowhere/", name="tests")
        self._after, self._refused = after, refused

    async def wait_up(self, *, within: float) -> None:
        """As the real one."""
        if self._refused:
            raise LoginRefusedError("refused")
        await asyncio.sleep(min(self._after, within))
        if within < self._after:
            raise BrokerAwayError("still away")


def repeatable(*, within: float = 5.0) -> Request:
    """A request that may be asked twice."""
    return Request("echo.say.v1", b"{}", time.time() + within, repeatable=True)


async def test_what_was_in_flight_is_asked_once_more_when_the_connection_is_back() -> None:
    requester, counted = Scripted(LOST, Answer(b"1")), Counting("hedgerow_lane_repeated_total")
    request = repeatable()
    began = time.monotonic()
    assert await Repeating(requester, Standing(after=0.1)).request(request) == Answer(b"1")
    assert (requester.asked, counted.more) == ([request, request], 1)
    assert time.monotonic() - began >= 0.1


async def test_what_may_not_be_repeated_is_asked_once() -> None:
    requester = Scripted(LOST, Answer(b"1"))
    with pytest.raises(ConnectionLostError):
        await Repeating(requester, Standing()).request(replace(repeatable(), repeatable=False))
    assert len(requester.asked) == 1


async def test_nothing_is_asked_three_times() -> None:
    requester = Scripted(LOST, LOST, Answer(b"1"))
    with pytest.raises(ConnectionLostError):
        await Repeating(requester, Standing()).request(repeatable())
    assert len(requester.asked) == 2


async def test_only_a_share_of_all_requests_is_repeated() -> None:
    lost_for_ever = Scripted(*[LOST] * 6 * BURST)
    requester = Repeating(lost_for_ever, Standing())
    for _ in range(2 * BURST):
        with pytest.raises(ConnectionLostError):
            await requester.request(repeatable())
    repeated = len(lost_for_ever.asked) - 2 * BURST
    assert BURST < repeated <= BURST + 2 * BURST * SHARE + 1


@pytest.mark.parametrize(
    "error", [BrokerAwayError("away"), NobodyThereError(), OverloadedError(), DeadlinePassedError()], ids=repr
)
async def test_what_was_not_in_flight_is_not_repeated(error: Exception) -> None:
    requester = Scripted(error, Answer(b"1"))
    with pytest.raises(type(error)):
        await Repeating(requester, Standing()).request(repeatable())
    assert len(requester.asked) == 1


@pytest.mark.parametrize("link", [Standing(after=60), Standing(refused=True)], ids=["away", "refused"])
async def test_a_connection_that_does_not_come_back_in_time_is_not_waited_for(link: Standing) -> None:
    requester = Scripted(LOST, Answer(b"1"))
    with pytest.raises(BrokerAwayError):
        await Repeating(requester, link).request(repeatable(within=0.1))
    assert len(requester.asked) == 1


@pytest.mark.parametrize(("operation", "may"), [(Say(word="x"), True), (Hold(word="x"), False)], ids=["read", "write"])
async def test_queries_may_be_repeated_and_other_operations_may_not(operation: Operation[Echo], may: bool) -> None:
    requester = Scripted(Answer(b'{"word":"x"}'))
    await Ask(requester, time.time() + 5)(operation)
    assert requester.asked[0].repeatable is may
