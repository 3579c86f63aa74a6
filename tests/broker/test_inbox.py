"""The inbox: one effect for each message, in the order of its aggregate."""

import asyncio
import json
import time
from typing import Any

import pytest
from sqlalchemy import text

from broker.telemetry import DUPLICATES, PARKED
from tests.broker.diary import (
    GROWN,
    OPENED,
    WRITE,
    Attempt,
    Closed,
    Gate,
    Grown,
    Opened,
    Write,
    count,
    dead_letter,
    diary,
    has_rows,
    has_written,
    numbers,
    rows,
)
from tests.conftest import Start
from tests.support.eventually import eventually
from tests.support.harness import Harness

pytestmark = pytest.mark.servers


async def _parked(bench: Harness, expected: int) -> None:
    await has_rows(bench, "parked", expected)


async def test_an_event_that_comes_twice_has_one_effect_and_is_counted(running: Start) -> None:
    bench = await running(diary())
    before = count(DUPLICATES, OPENED)
    headers = await bench.publish(Opened(account="a", number=1))
    await bench.publish(Opened(account="a", number=1), headers=headers)
    await bench.publish(Opened(account="a", number=2))
    await has_written(bench, "a", 1, 2)
    assert count(DUPLICATES, OPENED) == before + 1


async def test_a_command_that_comes_twice_has_one_effect_and_is_counted(running: Start) -> None:
    bench = await running(diary())
    before = count(DUPLICATES, WRITE)
    headers = await bench.send(Write(account="a", number=1))
    await bench.send(Write(account="a", number=1), headers=headers)
    await eventually(_counted(DUPLICATES, WRITE, before + 1))
    await has_written(bench, "a", 1)


async def test_an_event_that_came_early_is_parked_until_its_slow_predecessor_is_applied(running: Start) -> None:
    gate = Gate()

    async def slowly(said: Any, _: Attempt) -> None:
        if said.number == 1:
            await gate.wait(1)

    bench = await running(diary(slowly))
    before = count(PARKED, GROWN)
    await bench.publish(Opened(account="a", number=1))
    await gate.has_seen(1)
    await bench.publish(Grown(account="b", number=1))
    await bench.publish(Grown(account="a", number=2))
    gate.open()
    await has_written(bench, "a", 1, 2)
    assert count(PARKED, GROWN) <= before + 1


async def test_an_event_whose_predecessor_has_not_come_is_parked_until_it_comes(running: Start) -> None:
    bench = await running(diary())
    before = count(PARKED, GROWN)
    first, second = Opened(account="a", number=1), Grown(account="a", number=2)
    its_headers = bench.number(first)
    await bench.publish(second)
    await _parked(bench, 1)
    assert count(PARKED, GROWN) == before + 1
    await bench.publish(first, headers=its_headers)
    await has_written(bench, "a", 1, 2)
    await _parked(bench, 0)


async def test_an_event_waits_for_a_predecessor_that_is_tried_again(running: Start, quick_tiers: None) -> None:
    async def fail_once(said: Any, attempt: Attempt) -> None:
        if said.number == 1 and attempt == 1:
            raise ConnectionResetError("the gateway is away")

    bench = await running(diary(fail_once))
    await bench.publish(Opened(account="a", number=1))
    await bench.publish(Opened(account="a", number=2))
    await bench.publish(Grown(account="a", number=3))
    await has_written(bench, "a", 1, 2, 3)


async def test_an_event_is_released_when_its_predecessor_is_given_up(running: Start, quick_tiers: None) -> None:
    async def never(said: Any, _: Attempt) -> None:
        if said.number == 1:
            raise ConnectionResetError("the gateway is away for good")

    bench = await running(diary(never))
    await bench.publish(Opened(account="a", number=1))
    await bench.publish(Opened(account="a", number=2))
    await bench.publish(Grown(account="a", number=3))
    await has_written(bench, "a", 2, 3)
    assert (await dead_letter(bench)).headers["queue"] == OPENED


async def test_giving_up_an_event_does_not_overtake_its_predecessor(running: Start) -> None:
    bench = await running(diary())
    first, second = Opened(account="a", number=1), Grown(account="a", number=2)
    its_headers = bench.number(first)
    unreadable = bench.number(second)
    await bench.publisher.publish("events", second.topic, b'{"number": 2}', unreadable, mandatory=True)
    await _parked(bench, 1)
    await bench.publish(first, headers=its_headers)
    await has_written(bench, "a", 1)
    assert (await dead_letter(bench)).headers["queue"] == GROWN
    await bench.publish(Grown(account="a", number=3))
    await has_written(bench, "a", 1, 3)


async def test_who_hears_only_some_topics_of_an_aggregate_does_not_wait_for_the_others(running: Start) -> None:
    bench = await running(diary())
    bench.number(Closed(account="a", number=1))  # nobody ever publishes it
    await bench.publish(Opened(account="a", number=2))
    bench.number(Closed(account="a", number=3))
    await bench.publish(Grown(account="a", number=4))
    await has_written(bench, "a", 2, 4)


async def test_a_late_joiner_does_not_wait_for_what_was_said_before(running: Start) -> None:
    early = await running(diary(grown=False))
    long_ago = int(time.time() * 1000) - 60_000
    headers = early.number(Grown(account="a", number=2))
    headers |= {"sequence": 2, "predecessors": json.dumps({Opened.topic: [1, long_ago]})}
    await early.publish(Grown(account="nobody", number=0))
    late = await running(diary())
    await late.publish(Grown(account="a", number=2), headers=headers)
    await has_written(late, "a", 2)


async def test_what_was_said_before_a_subscriber_joined_is_applied_once_also_out_of_order(running: Start) -> None:
    bench = await running(diary())
    first, second = Opened(account="a", number=1), Opened(account="a", number=2)
    old = {"cloudEvents_time": "2026-01-01T00:00:00.000Z"}
    before = bench.number(first) | old
    after = bench.number(second) | {"predecessors": json.dumps({Opened.topic: [1, 1_767_225_600_000]})}
    await bench.publish(second, headers=after)
    await has_written(bench, "a", 2)
    await bench.publish(first, headers=before)
    await bench.publish(first, headers=before)
    await bench.publish(Opened(account="a", number=3))
    await _written_by_all(bench, "a", {1, 2, 3})
    assert sorted(await numbers(bench, "a")) == [1, 2, 3]


async def test_who_needs_no_order_does_not_wait(running: Start) -> None:
    bench = await running(diary(ordered=False))
    first, second = Opened(account="a", number=1), Opened(account="a", number=2)
    its_headers = bench.number(first)
    headers = await bench.publish(second)
    await has_written(bench, "a", 2)
    await bench.publish(second, headers=headers)
    await bench.publish(first, headers=its_headers)
    await has_written(bench, "a", 2, 1)
    assert await rows(bench, "parked") == 0


async def test_two_instances_apply_the_events_of_an_aggregate_in_order(running: Start) -> None:
    async def jitter(said: Any, _: Attempt) -> None:
        await asyncio.sleep(0.002 * (said.number % 3))

    bench = await running(diary(jitter))
    await running(diary(jitter))
    for number in range(30):
        kind = Opened if number % 2 else Grown
        await bench.publish(kind(account="a", number=number))
    await has_written(bench, "a", *range(30), within=20)


async def test_headers_that_json_has_no_words_for_can_be_parked(running: Start) -> None:
    bench = await running(diary())
    first, second = Opened(account="a", number=1), Opened(account="a", number=2)
    its_headers = bench.number(first)
    await bench.publish(second, headers={**bench.number(second), "blob": b"\xff"})
    await _parked(bench, 1)
    await bench.publish(first, headers=its_headers)
    await has_written(bench, "a", 1, 2)


async def test_old_claims_are_forgotten_and_fresh_ones_kept(running: Start) -> None:
    from broker import inbox
    from broker.outbox import Origin

    bench = await running(diary())
    assert bench.service is not None
    assert bench.service.database is not None

    async def age_and_prune(tx: Any) -> None:
        await tx.session.execute(text("INSERT INTO inbox VALUES ('q', 'old', now() - interval '15 days')"))
        await tx.session.execute(text("INSERT INTO inbox VALUES ('q', 'new', now() - interval '13 days')"))
        await inbox.prune(tx.session)

    await bench.service.database.transact(Origin("test"), age_and_prune)
    async with bench.session() as session:
        assert (await session.execute(text("SELECT message_id FROM inbox"))).scalars().all() == ["new"]


async def _written_by_all(bench: Harness, account: str, expected: set[int]) -> None:
    async def check() -> bool:
        return set(await numbers(bench, account)) == expected

    await eventually(check)


def _counted(counter: Any, queue: str, expected: float) -> Any:
    async def check() -> bool:
        return count(counter, queue) == expected

    return check
