"""Publishing on the wire, with a broker that confirms late, wrongly or never."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pamqp import commands
from pamqp.header import ContentHeader

from broker.lane.wire import publisher as module
from broker.lane.wire.link import WireLink
from broker.lane.wire.publisher import WirePublisher
from broker.publisher import ChannelLostError, PublishRefusedError
from broker.reconnecting import BrokerAwayError
from tests.broker.lane.fake_broker import FakeBroker, content
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("no_complaints")


@pytest.fixture
async def publisher(broker: FakeBroker) -> AsyncIterator[WirePublisher]:
    """A publisher on a link that is up; nothing is confirmed by itself."""
    link = WireLink(broker.url, name="tests")
    publisher = WirePublisher(link)
    await link.start()
    await link.wait_up(within=5)
    yield publisher
    await link.close()


def publishing(publisher: WirePublisher, *, within: float = 5, body: bytes = b"{}") -> asyncio.Task[None]:
    """A publish under way."""
    return asyncio.create_task(publisher.publish("events", "a.b.v1", body, {}, mandatory=True, within=within))


def message_ids(broker: FakeBroker) -> list[str]:
    """Of the messages that came, in order."""
    return [head.properties.message_id or "" for head in broker.all_of(ContentHeader)]


async def outcomes(*tasks: asyncio.Task[None]) -> list[Any]:
    """How they ended, all of them soon."""
    ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 2)
    return [type(outcome) for outcome in ended]


TAKEN = type(None)


async def test_one_confirm_for_many_and_one_for_one(broker: FakeBroker, publisher: WirePublisher) -> None:
    tasks = [publishing(publisher) for _ in range(6)]
    await broker.has_heard(ContentHeader, 6)
    broker.say(commands.Basic.Ack(3, False), commands.Basic.Nack(2, False), channel=1)
    broker.say(commands.Basic.Ack(5, True), commands.Basic.Nack(6, True), channel=1)
    refused = PublishRefusedError
    assert await outcomes(*tasks) == [TAKEN, refused, TAKEN, TAKEN, TAKEN, refused]


async def test_a_message_that_came_back_is_refused_and_its_neighbours_are_not(
    broker: FakeBroker, publisher: WirePublisher
) -> None:
    tasks = [publishing(publisher) for _ in range(3)]
    await broker.has_heard(ContentHeader, 3)
    second = message_ids(broker)[1]
    broker.say(content(commands.Basic.Return(312, "NO_ROUTE", "events", "a.b.v1"), message_id=second))
    broker.say(commands.Basic.Ack(3, True), channel=1)
    assert await outcomes(*tasks) == [TAKEN, PublishRefusedError, TAKEN]


@pytest.mark.parametrize("tag", [0, 9, 2**63 - 1])
async def test_confirms_of_what_was_never_sent_change_nothing(
    broker: FakeBroker, publisher: WirePublisher, tag: int
) -> None:
    task = publishing(publisher)
    await broker.has_heard(ContentHeader)
    broker.say(commands.Basic.Ack(tag, False), channel=1)
    broker.say(content(commands.Basic.Return(312, "NO_ROUTE", "events", "a.b.v1"), message_id="another"))
    broker.say(commands.Basic.Ack(1, False), commands.Basic.Ack(1, False), commands.Basic.Ack(tag, True), channel=1)
    assert await outcomes(task) == [TAKEN]
    task = publishing(publisher)
    await broker.has_heard(ContentHeader, 2)
    broker.say(commands.Basic.Ack(2, False), channel=1)
    assert await outcomes(task) == [TAKEN]


async def test_a_confirm_that_comes_too_late_changes_nothing(broker: FakeBroker, publisher: WirePublisher) -> None:
    assert await outcomes(publishing(publisher, within=0.05)) == [BrokerAwayError]
    task = publishing(publisher)
    await broker.has_heard(ContentHeader, 2)
    returned = commands.Basic.Return(312, "NO_ROUTE", "events", "a.b.v1")
    broker.say(content(returned, message_id=message_ids(broker)[0]), commands.Basic.Ack(2, True), channel=1)
    assert await outcomes(task) == [TAKEN]


async def test_while_the_broker_takes_nothing_nothing_is_sent_and_the_memory_stays_empty(
    broker: FakeBroker, publisher: WirePublisher
) -> None:
    wire: Any = publisher.link.connection
    broker.say(commands.Connection.Blocked("memory"))

    async def blocked() -> bool:
        return bool(wire.blocked)

    await eventually(blocked)
    given_up = [publishing(publisher, within=0.05, body=b"given up") for _ in range(3)]
    assert await outcomes(*given_up) == [BrokerAwayError] * 3
    waiting = publishing(publisher)
    await asyncio.sleep(0)
    broker.say(commands.Connection.Unblocked())
    await broker.has_heard(ContentHeader)
    broker.say(commands.Basic.Ack(1, False), channel=1)
    assert await outcomes(waiting) == [TAKEN]
    assert len(broker.all_of(ContentHeader)) == 1


async def test_a_broker_that_confirms_nothing_does_not_fill_the_memory(
    broker: FakeBroker, publisher: WirePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNDER_WAY", 3)
    tasks = [publishing(publisher, within=0.1) for _ in range(5)]
    assert await outcomes(*tasks) == [BrokerAwayError] * 5
    assert len(broker.all_of(ContentHeader)) == 3
    broker.say(commands.Basic.Ack(3, True), channel=1)

    async def taken() -> bool:
        task = publishing(publisher, within=1)
        await asyncio.sleep(0.02)
        broker.say(commands.Basic.Ack(4, True), channel=1)
        return await outcomes(task) == [TAKEN]

    assert await eventually(taken)


async def test_a_channel_that_the_broker_closes_costs_what_is_under_way_and_nothing_else(
    broker: FakeBroker, publisher: WirePublisher
) -> None:
    tasks = [publishing(publisher) for _ in range(3)]
    await broker.has_heard(ContentHeader, 3)
    broker.say(commands.Channel.Close(404, "no exchange", 60, 40), channel=1)
    assert await outcomes(*tasks) == [ChannelLostError] * 3
    again = [publishing(publisher) for _ in range(3)]
    await broker.has_heard(ContentHeader, 6)
    broker.say(commands.Basic.Ack(3, True), channel=1)
    assert await outcomes(*again) == [TAKEN] * 3
    assert publisher.link.is_up


async def test_who_gives_up_publishing_takes_nobody_along(broker: FakeBroker, publisher: WirePublisher) -> None:
    given_up, other = publishing(publisher), publishing(publisher)
    await broker.has_heard(ContentHeader, 2)
    given_up.cancel()
    broker.say(commands.Basic.Ack(2, True), channel=1)
    assert await outcomes(given_up, other) == [asyncio.CancelledError, TAKEN]


async def test_headers_that_fit_into_no_frame_are_refused_alone(broker: FakeBroker, publisher: WirePublisher) -> None:
    with pytest.raises(PublishRefusedError, match="bytes"):
        await publisher.publish("events", "a.b.v1", b"{}", {"large": "x" * 200_000}, mandatory=True)
    task = publishing(publisher)
    await broker.has_heard(ContentHeader)
    broker.say(commands.Basic.Ack(1, False), channel=1)
    assert await outcomes(task) == [TAKEN]
