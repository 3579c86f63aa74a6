"""Asking on the wire, with a broker that takes nothing, goes away, or brings what nobody wants."""

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp.header import ContentHeader

from broker.lane import Answer, ConnectionLostError, DeadlinePassedError, NobodyThereError, Request
from broker.lane.headers import NEWS, OUTCOME, REFUSED, REPLIED
from broker.lane.wire.fields import MalformedPropertiesError, read_properties
from broker.lane.wire.link import WireLink
from broker.lane.wire.requester import WireRequester
from broker.reconnecting import BrokerAwayError
from tests.broker.lane.carriers import asking
from tests.broker.lane.fake_broker import FakeBroker, content
from tests.support.counting import Counting
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("no_complaints")
REPLY = commands.Basic.Deliver("tag", 1, False, "replies", "queue")


@pytest.fixture
async def link(broker: FakeBroker) -> AsyncIterator[WireLink]:
    """A link, not started."""
    link = WireLink(broker.url, name="tests")
    yield link
    await link.close()


@pytest.fixture
async def requester(link: WireLink) -> WireRequester:
    """Somebody who asks, connected."""
    requester = WireRequester(link, owner="tests")
    await link.start()
    await link.wait_up(within=5)
    return requester


def request(requester: WireRequester, body: bytes = b"{}", **more: Any) -> asyncio.Task[Answer]:
    """A request under way."""
    return asyncio.create_task(requester.request(asking(body, **more)))


async def ids(broker: FakeBroker, number: int) -> list[str]:
    """The correlation ids of so many requests, in order."""
    return [head.properties.correlation_id or "" for head in await broker.has_heard(ContentHeader, number)]


async def test_every_request_carries_its_deadline_and_an_id_of_its_own(
    broker: FakeBroker, requester: WireRequester
) -> None:
    tasks = [request(requester) for _ in range(50)]
    found = await ids(broker, 50)
    assert len(set(found)) == 50
    assert all(0 < int(head.properties.expiration or "") <= 5000 for head in broker.all_of(ContentHeader))
    for number, correlation_id in enumerate(found):
        broker.say(content(REPLY, str(number).encode(), correlation_id=correlation_id))
    assert [answer.body for answer in await asyncio.gather(*tasks)] == [str(number).encode() for number in range(50)]


async def test_a_connection_that_is_lost_fails_what_is_in_flight_at_once(
    broker: FakeBroker, requester: WireRequester
) -> None:
    tasks = [request(requester, within=60) for _ in range(20)]
    await ids(broker, 20)
    broker.hang_up()
    ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 1)
    assert {type(outcome) for outcome in ended} == {ConnectionLostError}


async def test_under_an_alarm_nobody_waits_and_who_asked_before_is_still_answered(
    broker: FakeBroker, requester: WireRequester, link: WireLink
) -> None:
    before = request(requester)
    (correlation_id,) = await ids(broker, 1)
    broker.say(commands.Connection.Blocked("memory"))
    await eventually(lambda: _blocked(link, True))
    with pytest.raises(BrokerAwayError, match="takes nothing"):
        await asyncio.wait_for(requester.request(asking(within=60)), 1)
    broker.say(content(REPLY, b"1", correlation_id=correlation_id))
    assert await asyncio.wait_for(before, 1) == Answer(b"1")
    broker.say(commands.Connection.Unblocked())
    await eventually(lambda: _blocked(link, False))
    after = request(requester)
    broker.say(content(REPLY, b"2", correlation_id=(await ids(broker, 2))[1]))
    assert await asyncio.wait_for(after, 1) == Answer(b"2")


async def test_who_waits_until_the_socket_takes_more_fails_with_the_connection_or_its_deadline(
    broker: FakeBroker, requester: WireRequester, link: WireLink
) -> None:
    assert link.connection is not None
    link.connection.pause_writing()
    late, lost = request(requester, within=0.05), request(requester, within=60)
    with pytest.raises((DeadlinePassedError, BrokerAwayError)):
        await asyncio.wait_for(late, 1)
    broker.hang_up()
    with pytest.raises(BrokerAwayError):
        await asyncio.wait_for(lost, 1)
    assert broker.all_of(ContentHeader) == []


async def test_each_connection_has_a_reply_queue_of_its_own(
    broker: FakeBroker, requester: WireRequester, link: WireLink
) -> None:
    broker.hang_up()
    await broker.has_heard(commands.Basic.Consume, 2)
    first, second = (consume.queue for consume in broker.all_of(commands.Basic.Consume))
    assert first != second
    await link.wait_up(within=5)
    again = request(requester)
    (head,) = await broker.has_heard(ContentHeader)
    bind = broker.all_of(commands.Queue.Bind)[-1]
    assert (bind.queue, bind.exchange, f"{bind.routing_key}|replies") == (second, "replies", head.properties.reply_to)
    broker.say(content(REPLY, b"1", correlation_id=head.properties.correlation_id))
    assert await again == Answer(b"1")


async def test_a_consumer_that_the_broker_cancels_costs_the_connection(
    broker: FakeBroker, requester: WireRequester
) -> None:
    broker.say(commands.Basic.Cancel("tag", True), channel=1)
    await broker.has_heard(commands.Connection.Open, 2)


async def test_what_comes_back_is_refused_and_what_comes_back_too_late_is_dropped(
    broker: FakeBroker, requester: WireRequester
) -> None:
    dropped = Counting("hedgerow_lane_dropped_total", reason="late-reply")
    returned = commands.Basic.Return(312, "NO_ROUTE", "requests", "echo.say.v1")
    now, late = request(requester), request(requester, within=0.05)
    first, second = await ids(broker, 2)
    broker.say(content(returned, correlation_id=first))
    with pytest.raises(NobodyThereError, match="NO_ROUTE"):
        await now
    with pytest.raises(DeadlinePassedError):
        await late
    broker.say(content(returned, correlation_id=second))
    await eventually(lambda: _counted(dropped, 1))


async def test_an_unreadable_reply_is_dropped_and_the_next_one_is_read(
    broker: FakeBroker, requester: WireRequester
) -> None:
    dropped, asked = Counting("hedgerow_lane_dropped_total", reason="malformed-reply"), request(requester)
    (correlation_id,) = await ids(broker, 1)
    for raw in (b"\x04\x00\xff", b"\x20\x00\x00\x00\xff\xff", b"\x04\x00\x02\xff\xfe", b"\x00\x01"):
        payload = struct.pack(">HHQ", 60, 0, 0) + raw
        head = struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce"
        broker.say(frame.marshal(REPLY, 1), head, channel=1)
    broker.say(content(REPLY, b"1", correlation_id=correlation_id))
    assert await asked == Answer(b"1")
    assert dropped.more == 4


async def test_a_request_that_fits_into_no_frame_costs_nobody_else_anything(
    broker: FakeBroker, requester: WireRequester
) -> None:
    large = asking()
    large.params = {"large": "x" * 200_000}
    with pytest.raises(ValueError, match="bytes"):
        await requester.request(large)
    asked = request(requester)
    broker.say(content(REPLY, b"1", correlation_id=(await ids(broker, 1))[0]))
    assert await asked == Answer(b"1")


async def test_nothing_is_remembered_of_what_is_over(broker: FakeBroker, requester: WireRequester) -> None:
    tasks = [request(requester, within=0.1) for _ in range(10)]
    broker.say(content(REPLY, b"1", correlation_id=(await ids(broker, 10))[0]))
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with pytest.raises(OverflowError):
        await requester.request(Request("echo.say.v1", b"{}", deadline=float("inf")))
    assert requester._waiting == {}


tokens = st.text("0123456789abcdef", min_size=32, max_size=32)
written = st.fixed_dictionaries(
    {
        "correlation_id": st.none() | tokens | st.text("ab ", max_size=40),
        "message_id": st.none() | tokens,
        "reply_to": st.none() | tokens,
        "app_id": st.none() | tokens,
        "headers": st.sampled_from([{OUTCOME: REPLIED}, {OUTCOME: REFUSED}, {}, {"a": 1}]),
    }
)


A, B = "a" * 32, "b" * 32
ONCE_TAKEN_FOR_ITS_ID = [
    {"correlation_id": A, "app_id": A, "headers": {OUTCOME: REPLIED}},
    {"correlation_id": A, "app_id": B, "headers": {OUTCOME: REPLIED}},
]


@settings(max_examples=60)
@example(ONCE_TAKEN_FOR_ITS_ID, [0, 1])
@given(st.lists(written, min_size=1, max_size=8), st.lists(st.integers(0, 7), max_size=12))
def test_what_was_read_of_earlier_replies_never_changes_how_a_later_one_is_read(
    replies: list[dict[str, Any]], order: list[int]
) -> None:
    requester = WireRequester(WireLink("amqp://nowhere/", name="tests"), owner="tests")
    for at in order:
        described = commands.Basic.Properties(**replies[at % len(replies)])
        raw = ContentHeader(0, 0, described).marshal()[12:]
        try:
            read = read_properties(raw)
        except MalformedPropertiesError:
            continue
        news = read.headers.get(NEWS)
        told = None if news is None else str(news)
        assert requester._read(raw) == (read.correlation_id or "", read.headers.get(OUTCOME) == REFUSED, told)


async def _counted(counting: Counting, number: int) -> bool:
    return counting.more == number


async def _blocked(link: WireLink, wanted: bool) -> bool:
    return link.connection is not None and link.connection.blocked is wanted
