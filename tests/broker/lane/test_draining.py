"""Leaving, at whatever moment; and what a request's own bytes can't do to those behind it."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pamqp import commands

from broker.lane import Answer, Request
from broker.lane.carriers import Carrier
from broker.liveness import Liveness
from tests.broker.lane.fake_broker import USUAL, FakeBroker, content
from tests.broker.lane.words import SAY
from tests.support.counting import Counting
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("no_complaints")


class Hands:
    """Somebody who answers when a test lets them; `began` has what they took up."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.began: list[bytes] = []
        self.go_on = asyncio.Event()
        self.responder = carrier.responder("echo", (SAY,), self._answer, Liveness(carrier.publisher))

    async def _answer(self, request: Request) -> Answer:
        self.began.append(request.body)
        await self.go_on.wait()
        return Answer(request.body)

    async def has_begun(self, number: int) -> None:
        """Wait until so many were taken up."""

        async def begun() -> bool:
            return len(self.began) == number

        await eventually(begun)


@pytest.fixture
async def hands(broker: FakeBroker) -> AsyncIterator[Hands]:
    """A responder that can publish; it does not consume yet."""
    hands = Hands(Carrier(broker.url, name="tests", carried_by="wire"))
    await hands.carrier.publishing.start()
    await hands.carrier.publishing.wait_up(within=5)
    yield hands
    await hands.carrier.consuming.close()
    await hands.carrier.publishing.close()


def request(tag: int, body: bytes = b"{}", *, key: str = SAY, **properties: Any) -> bytes:
    """A request delivered, with five seconds to go."""
    headers = {"deadline": int((time.time() + 5) * 1000)}
    return content(
        commands.Basic.Deliver("echo.requests", tag, False, "requests", key), body, headers=headers, **properties
    )


async def consuming(hands: Hands, broker: FakeBroker) -> None:
    """Let it consume."""
    await hands.carrier.consuming.start()
    await hands.carrier.consuming.wait_up(within=5)
    assert len(broker.all_of(commands.Basic.Consume)) == 2


@pytest.mark.parametrize("method", ["Exchange.Declare", "Queue.Bind", "Basic.Qos", "Basic.Consume"])
async def test_who_leaves_while_the_links_are_set_up_takes_nothing(
    broker: FakeBroker, hands: Hands, method: str
) -> None:
    held = asyncio.Event()

    def hold(_: Any) -> list[Any]:
        held.set()
        return []

    broker.answers[method] = hold
    await hands.carrier.consuming.start()
    await asyncio.wait_for(held.wait(), 5)
    leaving = asyncio.create_task(hands.responder.drain(within=5))
    await asyncio.sleep(0)
    broker.answers[method] = USUAL[method]
    channel, asked = broker.heard[-1]
    broker.say(*USUAL[method](asked), channel=channel)
    await asyncio.wait_for(leaving, 2)
    await hands.carrier.consuming.wait_up(within=5)
    consumed = [said.consumer_tag for said in broker.all_of(commands.Basic.Consume)]
    cancelled = [said.consumer_tag for said in broker.all_of(commands.Basic.Cancel)]
    assert set(consumed) <= set(cancelled)


async def test_who_leaves_finishes_also_what_began_before_the_connection_was_lost(
    broker: FakeBroker, hands: Hands
) -> None:
    await consuming(hands, broker)
    broker.say(request(1, b"before"))
    await hands.has_begun(1)
    broker.hang_up()
    await broker.has_heard(commands.Basic.Consume, 4)
    await hands.carrier.consuming.wait_up(within=5)
    broker.say(request(1, b"after"))
    await hands.has_begun(2)
    leaving = asyncio.create_task(hands.responder.drain(within=5))
    await broker.has_heard(commands.Basic.Cancel, 2)
    assert not leaving.done()
    hands.go_on.set()
    await asyncio.wait_for(leaving, 2)
    acknowledged = await broker.has_heard(commands.Basic.Ack)
    assert [ack.delivery_tag for ack in acknowledged] == [1]


async def test_who_does_not_finish_in_time_is_left_behind_unacknowledged(broker: FakeBroker, hands: Hands) -> None:
    await consuming(hands, broker)
    broker.say(request(1), request(2))
    await hands.has_begun(2)
    await asyncio.wait_for(hands.responder.drain(within=0.1), 2)
    await hands.carrier.consuming.close()
    assert broker.all_of(commands.Basic.Ack) == []
    hands.go_on.set()


async def test_what_a_stranger_wrote_uses_up_no_prefetch(broker: FakeBroker, hands: Hands) -> None:
    await consuming(hands, broker)
    hands.go_on.set()
    dropped = Counting("hedgerow_lane_dropped_total", reason="malformed")
    no_text = request(1, key="probe.xxxx").replace(b"probe.xxxx", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe")
    no_properties = request(2, correlation_id="abc").replace(b"\x03abc", b"\x03\xff\xfe\xff")
    no_deadline = content(commands.Basic.Deliver("echo.requests", 3, False, "requests", SAY))
    broker.say(no_text, no_properties, no_deadline, request(4, b"good"))

    async def all_acknowledged() -> bool:
        return max((ack.delivery_tag for ack in broker.all_of(commands.Basic.Ack)), default=0) == 4

    await eventually(all_acknowledged)
    assert hands.began[-1] == b"good"
    assert dropped.more == 2
