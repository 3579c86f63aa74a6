"""A connection that stands, and a broker that misbehaves."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.heartbeat import Heartbeat

from broker.lane.wire import channel as channels
from broker.lane.wire.connection import ClosedByBrokerError, Wire
from broker.lane.wire.fields import properties
from broker.lane.wire.frames import publish_frame
from broker.reconnecting import BrokerAwayError
from tests.broker.lane.fake_broker import BEAT, FakeBroker, content, wired
from tests.support.counting import Counting
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("no_complaints")


def declare() -> commands.Queue.Declare:
    """Something that is answered."""
    return commands.Queue.Declare(queue="q")


VIOLATIONS: dict[str, list[Any]] = {
    "garbage": [b"\xff" * 20],
    "a frame that is too large": [b"\x01\x00\x00\x7f\xff\xff\xff" + bytes(20)],
    "a method that does not exist": [b"\x01\x00\x00\x00\x00\x00\x04\x00\x3c\x00\xff\xce"],
    "a channel that does not exist": [b"\x01\x00\x63\x00\x00\x00\x0d\x00\x3c\x00\x50" + bytes(9) + b"\xce"],
    "an answer that nobody waits for": [commands.Queue.BindOk()],
}


@pytest.mark.parametrize("violation", VIOLATIONS.values(), ids=list(VIOLATIONS))
async def test_a_broker_that_breaks_the_protocol_is_lost_and_counted(broker: FakeBroker, violation: list[Any]) -> None:
    losses, counted = list[str](), Counting("hedgerow_lane_dropped_total", reason="frame-violation")
    async with wired(broker, lambda: losses.append("lost")) as wire:
        channel = await wire.channel()
        broker.answers["Queue.Declare"] = lambda _: []
        call = asyncio.create_task(channel.call(declare()))
        await broker.has_heard(commands.Queue.Declare)
        broker.say(*violation)
        with pytest.raises(BrokerAwayError, match="broke the protocol"):
            await call
        assert (losses, counted.more) == (["lost"], 1)


async def test_an_answer_of_another_kind_is_not_taken_for_the_one_that_was_waited_for(broker: FakeBroker) -> None:
    broker.answers["Queue.Declare"] = lambda _: [commands.Queue.BindOk()]
    async with wired(broker) as wire:
        channel = await wire.channel()
        with pytest.raises(BrokerAwayError, match="BindOk"):
            await channel.call(declare())


async def test_a_silent_broker_is_lost_after_two_heartbeats_and_has_heard_ours(broker: FakeBroker) -> None:
    lost = asyncio.Event()
    broker.url += "?heartbeat=1"
    async with wired(broker, lost.set) as wire:
        began = time.monotonic()
        await asyncio.wait_for(lost.wait(), 4)
        assert 2 <= time.monotonic() - began < 3
        assert "silent" in str(wire.error)
    assert 3 <= len(broker.all_of(Heartbeat)) <= 5


async def test_a_broker_that_beats_is_not_lost(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    beat = Wire._beat
    monkeypatch.setattr(Wire, "_beat", lambda wire, interval: beat(wire, min(interval, 0.1)))
    lost = asyncio.Event()
    async with wired(broker, lost.set):
        for _ in range(10):
            broker.say(BEAT)
            await asyncio.sleep(0.05)
        assert not lost.is_set()
        await asyncio.wait_for(lost.wait(), 1)


async def test_a_connection_that_is_cut_fails_what_waits_at_once_and_says_so_once(broker: FakeBroker) -> None:
    losses = list[str]()
    broker.answers["Queue.Declare"] = lambda _: []
    async with wired(broker, lambda: losses.append("lost")) as wire:
        channels = [await wire.channel() for _ in range(3)]
        calls = [asyncio.create_task(channel.call(declare())) for channel in channels]
        await broker.has_heard(commands.Queue.Declare, 3)
        broker.hang_up()
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 1)
        assert {type(outcome) for outcome in outcomes} == {BrokerAwayError}
        with pytest.raises(BrokerAwayError):
            await channels[0].call(declare())
    assert losses == ["lost"]


async def test_a_connection_that_the_broker_closes_is_lost_with_its_reason(broker: FakeBroker) -> None:
    lost = asyncio.Event()
    async with wired(broker, lost.set) as wire:
        broker.say(commands.Connection.Close(320, "CONNECTION_FORCED", 0, 0))
        await asyncio.wait_for(lost.wait(), 1)
        assert "320 CONNECTION_FORCED" in str(wire.error)
    await broker.has_heard(commands.Connection.CloseOk)


async def test_what_comes_in_one_piece_with_the_end_is_not_looked_at(broker: FakeBroker) -> None:
    lost, seen = asyncio.Event(), list[Any]()
    async with wired(broker, lost.set) as wire:
        channel = await wire.channel()
        channel.on_content = seen.append
        delivery = content(commands.Basic.Deliver("tag", 1, False, "e", "k"))
        cancel, close = commands.Basic.Cancel("tag", True), commands.Channel.Close(404, "gone", 0, 0)
        broker.say(cancel, close, delivery, close, channel=1)
        await asyncio.wait_for(lost.wait(), 1)
    assert seen == []


async def test_a_channel_that_the_broker_closes_is_closed_alone_where_that_is_wanted(broker: FakeBroker) -> None:
    async with wired(broker) as wire:
        one, other = await wire.channel(), await wire.channel()
        ends = list[BrokerAwayError]()
        one.on_end = ends.append
        close = commands.Channel.Close(404, "NOT_FOUND", 50, 10)
        broker.answers["Queue.Declare"] = lambda asked: (
            [close] if asked.passive else [commands.Queue.DeclareOk("q", 0, 0)]
        )
        with pytest.raises(ClosedByBrokerError, match="404 NOT_FOUND"):
            await one.call(commands.Queue.Declare(queue="q", passive=True))
        await other.call(declare())
        with pytest.raises(ClosedByBrokerError):
            one.publish(publish_frame(1, "e", "k", mandatory=False), properties({}), b"{}")
        again = await wire.channel()
        await again.call(declare())
        assert (again.number, len(ends)) == (one.number, 1)
        assert len(broker.all_of(commands.Channel.CloseOk)) == 1


async def test_a_channel_that_ends_takes_the_connection_along_unless_somebody_minds_it(broker: FakeBroker) -> None:
    lost = asyncio.Event()
    async with wired(broker, lost.set) as wire:
        await wire.channel()
        broker.say(commands.Channel.Close(406, "PRECONDITION_FAILED", 0, 0), channel=1)
        await asyncio.wait_for(lost.wait(), 1)


async def test_calls_of_one_channel_wait_for_each_other(broker: FakeBroker) -> None:
    async with wired(broker) as wire:
        channel = await wire.channel()
        names = [f"q{number}" for number in range(20)]
        calls = (channel.call(commands.Queue.Declare(queue=name)) for name in names)
        answers = await asyncio.gather(*calls)
    assert [dict(answer)["queue"] for answer in answers] == names


async def test_who_gives_up_waiting_gives_up_the_connection(broker: FakeBroker) -> None:
    lost = asyncio.Event()
    broker.answers["Queue.Declare"] = lambda _: []
    async with wired(broker, lost.set) as wire:
        channel = await wire.channel()
        call = asyncio.create_task(channel.call(declare()))
        await broker.has_heard(commands.Queue.Declare)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert lost.is_set()


async def test_an_answer_that_does_not_come_is_not_waited_for(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "ANSWER_WITHIN", 0.05)
    broker.answers["Queue.Declare"] = lambda _: []
    async with wired(broker) as wire:
        channel = await wire.channel()
        with pytest.raises(BrokerAwayError, match="did not answer in time"):
            await channel.call(declare())


async def test_goodbye_is_said_after_all_that_was_written_before(broker: FakeBroker) -> None:
    async with wired(broker) as wire:
        channel = await wire.channel()
        for _ in range(100):
            channel.publish(publish_frame(1, "e", "k", mandatory=False), properties({}), b"x" * 1000)
    names = [said.name for _, said in broker.heard]
    assert (names.count("Basic.Publish"), names[-1]) == (100, "Connection.Close")


@pytest.mark.parametrize("size", [4088, 4089, 20_000])
async def test_a_large_body_is_split_into_what_the_broker_takes(broker: FakeBroker, size: int) -> None:
    broker.answers["Connection.StartOk"] = lambda _: [commands.Connection.Tune(0, 4096, 60)]
    async with wired(broker) as wire:
        channel = await wire.channel()
        channel.publish(publish_frame(1, "e", "k", mandatory=False), properties({}), bytes(size))
    parts = [said.value for _, said in broker.heard if isinstance(said, ContentBody)]
    assert sum(map(len, parts)) == size
    assert max(map(len, parts)) <= 4088


async def test_a_large_body_is_put_together_again(broker: FakeBroker) -> None:
    seen = list[Any]()
    async with wired(broker) as wire:
        channel = await wire.channel()
        channel.on_content = seen.append
        whole = content(commands.Basic.Deliver("t", 1, False, "e", "k"), bytes(100_000))
        for at in range(0, len(whole), 30_000):
            broker.say(whole[at : at + 30_000])
            await asyncio.sleep(0)
        await eventually(_has(seen, 1))
    assert seen[0].body == bytes(100_000)


async def test_a_broker_under_an_alarm_is_not_written_to_until_it_is_over(broker: FakeBroker) -> None:
    async with wired(broker) as wire:
        broker.say(commands.Connection.Blocked("memory"))
        await eventually(_is(lambda: wire.blocked and not wire.writable.is_set()))
        with pytest.raises(BrokerAwayError, match="takes nothing"):
            await wire.until_writable(within=0.05)
        waiting = asyncio.create_task(wire.until_writable(within=5))
        broker.say(commands.Connection.Unblocked())
        await asyncio.wait_for(waiting, 1)
        assert not wire.blocked


async def test_who_waits_to_write_is_let_go_when_the_connection_is_lost(broker: FakeBroker) -> None:
    async with wired(broker) as wire:
        channel = await wire.channel()
        broker.say(commands.Connection.Blocked("memory"))
        await eventually(_is(lambda: wire.blocked))
        waiting = asyncio.create_task(wire.until_writable(within=5))
        broker.hang_up()
        await asyncio.wait_for(waiting, 1)
        with pytest.raises(BrokerAwayError):
            channel.publish(publish_frame(1, "e", "k", mandatory=False), properties({}), b"{}")


def _is(what: Callable[[], bool]) -> Callable[[], Any]:
    async def check() -> bool:
        return what()

    return check


def _has(seen: list[Any], number: int) -> Callable[[], Any]:
    return _is(lambda: len(seen) == number)
