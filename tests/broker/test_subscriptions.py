"""How events and commands arrive: acknowledged after the commit, whatever becomes of process, channel and broker."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aio_pika.abc import AbstractIncomingMessage
from sqlalchemy import text

import broker.running
import broker.settling
from broker.injection import Attempt
from broker.outbox import Origin, envelope
from broker.service import Service
from broker.settling import DELIVERIES_BEFORE_GIVING_UP, DELIVERIES_BEFORE_RENEWAL, DELIVERIES_BEFORE_SUSPICION
from broker.subscriptions import Subscriptions
from broker.telemetry import REDELIVERIES
from tests.broker.diary import OPENED, WRITE, Bench, Gate, Opened, Write, count, diary, take, waiting
from tests.broker.diary_process import DEADLY, DEADLY_ONCE, SLOW
from tests.conftest import Start
from tests.support.eventually import eventually
from tests.support.harness import harness, under_test

pytestmark = pytest.mark.servers


# --- without a database ----------------------------------------------------------------------------------------------


def _scribe(heard: list[int], gate: Gate, *, fail_once: bool = False) -> Service:
    service = Service("diary")

    @service.does(Write)
    async def write(command: Write, attempt: Attempt) -> None:
        if fail_once and attempt == 1 and command.number == 1:
            raise ConnectionResetError
        await gate.wait(command.number)
        heard.append(command.number)

    return service


async def test_without_a_database_messages_are_heard_one_at_a_time_in_the_order_of_the_queue(running: Start) -> None:
    heard: list[int] = []
    gate = Gate()
    bench = await running(_scribe(heard, gate), with_database=False)
    for number in range(20):
        await bench.send(Write(account="a", number=number))
    await gate.has_seen(0)
    assert gate.reached == [0]
    gate.open()

    async def all_heard() -> bool:
        return len(heard) == 20

    await eventually(all_heard)
    assert heard == list(range(20))


async def test_without_a_database_a_message_that_fails_is_tried_again(running: Start, quick_tiers: None) -> None:
    heard: list[int] = []
    gate = Gate()
    gate.open()
    bench = await running(_scribe(heard, gate, fail_once=True), with_database=False)
    await bench.send(Write(account="a", number=1))
    await bench.send(Write(account="a", number=2))

    async def both_heard() -> bool:
        return heard == [2, 1]

    await eventually(both_heard)


# --- channels --------------------------------------------------------------------------------------------------------


async def test_an_error_on_the_channel_of_one_queue_does_not_end_the_handlers_of_another(
    running: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Subscriptions] = []

    class Noted(Subscriptions):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            made.append(self)

    monkeypatch.setattr(broker.running, "Subscriptions", Noted)
    gate = Gate()

    async def wait(said: Any, _: Attempt) -> None:
        await gate.wait(said.number)

    bench = Bench(await running(diary({"a": wait})))
    before = count(REDELIVERIES, OPENED)
    await bench.harness.publish(bench.opened(1))
    await gate.has_seen(1)
    subscribers: Any = made[0]._broker.subscribers  # type: ignore[union-attr]
    (channel,) = [s._queue_obj.channel for s in subscribers if s.queue.name == WRITE]
    underlay = await channel.get_underlay_channel()
    await underlay.basic_ack(987_654_321)  # nothing was delivered under this tag: the broker closes the channel

    async def is_closed() -> bool:
        return bool(underlay.is_closed)

    await eventually(is_closed)
    await bench.harness.send(Write(account="b", number=2))
    await _written(bench, "b", 2)
    gate.open()
    await bench.has_written(1)
    assert gate.reached == [1]
    assert count(REDELIVERIES, OPENED) == before


# --- messages that were delivered too often --------------------------------------------------------------------------


async def test_a_suspect_that_waited_through_many_crashes_goes_home_as_a_fresh_message(
    running: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def deliveries(raw: AbstractIncomingMessage) -> int:
        seen.append(raw.routing_key or "")
        return DELIVERIES_BEFORE_RENEWAL if len(seen) == 1 else 0

    monkeypatch.setattr(broker.settling, "_deliveries", deliveries)
    bench = Bench(await running(diary()))
    await bench.harness.send(bench.write(1))
    await bench.has_written_all({(1, 1)})
    assert seen == [Write.topic, f"renewed.{WRITE}"]


async def test_a_suspect_that_does_no_harm_has_its_effect_and_is_acquitted(
    running: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.settling, "_deliveries", lambda _: DELIVERIES_BEFORE_GIVING_UP + 1)
    bench = Bench(await running(diary()))
    await bench.harness.send(bench.write(1))
    await bench.has_written(1)

    async def is_acquitted() -> bool:
        async with bench.harness.session() as session:
            return int((await session.execute(text("SELECT count(*) FROM suspects"))).scalar_one()) == 0

    await eventually(is_acquitted)


async def test_a_suspect_that_was_given_up_on_and_comes_again_is_not_tried_again(
    running: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.settling, "_deliveries", lambda _: DELIVERIES_BEFORE_SUSPICION)
    bench = Bench(await running(diary()))
    command = bench.write(1)
    headers = envelope(bench.harness.source, command, Origin("test"))
    noted = {"queue": WRITE, "id": headers["cloudEvents_id"], "tries": DELIVERIES_BEFORE_GIVING_UP}
    suspected = text("INSERT INTO suspects (queue, message_id, tries) VALUES (:queue, :id, :tries)")
    await bench.harness.write(suspected.bindparams(**noted))
    for _ in range(2):
        await bench.harness.send(command, headers=headers)
        letter = await take(bench.harness, "dead-letters")
        assert "KilledTheServiceError" in str(letter.headers["cause"])
    await bench.has_written()


async def test_without_a_database_what_was_delivered_too_often_is_given_up(
    running: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.settling, "_deliveries", lambda _: DELIVERIES_BEFORE_GIVING_UP)
    heard: list[int] = []
    bench = await running(_scribe(heard, Gate()), with_database=False)
    await bench.send(Write(account="a", number=1))
    letter = await take(bench, "dead-letters")
    assert "KilledTheServiceError" in str(letter.headers["cause"])
    assert heard == []


# --- processes -------------------------------------------------------------------------------------------------------


class Process:
    """A diary in a process of its own, and what its handlers noted."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.popen = popen
        self._log = log

    def begun(self) -> list[int]:
        """The numbers of the messages that handlers began with."""
        return [int(word) for word in self._log.read_text().split()] if self._log.exists() else []

    async def has_begun(self, *numbers: int) -> None:
        """Wait until the handlers have begun with these, in whatever order."""

        async def check() -> bool:
            assert sorted(self.begun()) == sorted(numbers)
            return True

        await eventually(check, within=30)

    async def ends(self, *, within: float = 15) -> int:
        """Ask it to end; its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.popen.wait, within)


@contextmanager
def _process(folder: Path, amqp: str, database: str, *, lives: int = 1) -> Iterator[Process]:
    env = os.environ | {"HEDGEROW_AMQP_URL": amqp, "HEDGEROW_DATABASE_URL": database}
    command = (sys.executable, "-m", "tests.broker.diary_process", str(folder / "begun"), str(lives))
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as popen:
        try:
            yield Process(popen, folder / "begun")
        finally:
            if popen.poll() is None:
                popen.send_signal(signal.SIGTERM)
                popen.wait(15)


async def _prepared(amqp: str, database: str, *messages: Any) -> None:
    """Let the service declare its queues once, and fill them while it is away."""
    async with under_test(diary(), amqp=amqp, database=database):
        pass
    async with harness(amqp) as it:
        for message in messages:
            await (it.send(message) if isinstance(message, Write) else it.publish(message))


@pytest.mark.timeout(240)
async def test_only_the_message_that_ends_the_process_is_given_up_and_the_others_go_on(
    tmp_path: Path, amqp: str, database: str
) -> None:
    innocent = [Write(account="innocent", number=number) for number in range(1, 11)]
    deadly, successor = Opened(account="deadly", number=DEADLY), Opened(account="deadly", number=2)
    await _prepared(amqp, database, deadly, successor, Write(account="x", number=DEADLY), *innocent)
    with _process(tmp_path, amqp, database, lives=20):
        async with harness(amqp) as it:
            buried: set[object] = set()
            while buried != {OPENED, WRITE}:
                letter = await take(it, "dead-letters", within=90)  # nine lives of a process take their time
                assert "KilledTheServiceError" in str(letter.headers["cause"])
                buried.add(letter.headers["queue"])
            async with under_test(diary(), amqp=amqp, database=database) as bench:
                page = Bench(bench)
                page.account = "innocent"
                await page.has_written_all({(number, 1) for number in range(1, 11)})
                page.account = "deadly"
                await page.has_written(2)
            # The other deadly one may have ended the process between a burial and its acknowledgement.
            while await waiting(it, "dead-letters"):
                assert "KilledTheServiceError" in str((await take(it, "dead-letters")).headers["cause"])
    begun = [int(word) for word in (tmp_path / "begun").read_text().split()]
    assert begun.count(DEADLY) <= 2 * DELIVERIES_BEFORE_GIVING_UP


async def test_a_process_that_is_killed_in_a_handler_has_acknowledged_nothing_and_the_effect_comes_once(
    tmp_path: Path, amqp: str, database: str
) -> None:
    await _prepared(amqp, database, Write(account="a", number=DEADLY_ONCE))
    with _process(tmp_path, amqp, database, lives=2) as process:
        await process.has_begun(DEADLY_ONCE, DEADLY_ONCE)
        assert await process.ends() == 0
    async with under_test(diary(), amqp=amqp, database=database) as bench:
        page = Bench(bench)
        await page.has_written(DEADLY_ONCE)


async def test_a_process_that_is_asked_to_end_finishes_what_it_has_begun(
    tmp_path: Path, amqp: str, database: str
) -> None:
    accounts = [f"account {number}" for number in range(5)]
    slow = [Write(account=account, number=SLOW) for account in accounts]
    await _prepared(amqp, database, *slow)
    with _process(tmp_path, amqp, database) as process:
        await process.has_begun(*[SLOW] * 5)
        assert await process.ends() == 0
    before = count(REDELIVERIES, WRITE)
    async with under_test(diary(), amqp=amqp, database=database) as bench:
        page = Bench(bench)
        for account in accounts:
            page.account = account
            assert await page.numbers() == [SLOW]
        page.account = "known"
        await bench.send(page.write(1))
        await page.has_written(1)
    assert count(REDELIVERIES, WRITE) == before


async def _written(bench: Bench, account: str, *numbers: int) -> None:
    before, bench.account = bench.account, account
    await bench.has_written(*numbers)
    bench.account = before
