"""Asking on behalf of a message: what comes back is read, or counted."""

import time

import pytest

from broker.lane import Answer, Ask, BadAnswerError, Request, refuse
from contracts.base import Refusal, refusal
from tests.broker.lane.words import Echo, Say
from tests.support.counting import Counting

no_such_word = refusal("no-such-word", 404, "There is no such word.")


class Told:
    """Answers with what it was told."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def request(self, request: Request) -> Answer:
        """The same to everything."""
        return self._answer


async def ask(answer: Answer) -> Echo | Refusal:
    """Ask somebody who answers this."""
    return await Ask(Told(answer), time.time() + 5)(Say(word="hello"))


async def test_a_reply_and_a_refusal_are_read() -> None:
    assert await ask(Answer(b'{"word":"hello"}')) == Echo(word="hello")
    assert await ask(refuse(no_such_word())) == no_such_word()


@pytest.mark.parametrize("refused", [False, True], ids=["reply", "refusal"])
@pytest.mark.parametrize("body", [b"", b"no JSON", b"\xff\xfe", b"[]", b'{"another":1}', b"[" * 100_000], ids=range(6))
async def test_what_is_no_answer_is_counted_and_no_defect_of_who_asked(body: bytes, refused: bool) -> None:
    counted = Counting("hedgerow_lane_dropped_total", reason="bad-answer")
    with pytest.raises(BadAnswerError, match=Say.topic):
        await ask(Answer(body, refused=refused))
    assert counted.more == 1
