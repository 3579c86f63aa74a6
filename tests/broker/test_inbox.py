"""The inbox: one effect for each message, in the order of its aggregate."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from broker import inbox
from broker.ids import new_token
from broker.inbox import Claim
from broker.injection import Attempt
from broker.message import Incoming, incoming
from broker.migrate import migrate
from broker.outbox import Origin
from broker.telemetry import DUPLICATES, PARKED
from broker.transaction import Database, Transaction
from tests.broker.diary import GROWN, OPENED, WRITE, Bench, Closed, Gate, Opened, count, counted, diary
from tests.conftest import Start
from tests.support.harness import under_test
from tests.support.servers import RealServers

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


async def test_an_event_that_comes_twice_has_one_effect_and_is_counted(bench: Bench) -> None:
    before = count(DUPLICATES, OPENED)
    headers = await bench.harness.publish(bench.opened(1))
    await bench.harness.publish(bench.opened(1), headers=headers)
    await bench.harness.publish(bench.opened(2))
    await bench.has_written(1, 2)
    await counted(DUPLICATES, OPENED, expected=before + 1)


async def test_a_command_that_comes_twice_has_one_effect_and_is_counted(bench: Bench) -> None:
    before = count(DUPLICATES, WRITE)
    headers = await bench.harness.send(bench.write(1))
    await bench.harness.send(bench.write(1), headers=headers)
    await counted(DUPLICATES, WRITE, expected=before + 1)
    await bench.has_written(1)


async def test_an_event_that_came_early_is_applied_after_its_slow_predecessor(bench: Bench) -> None:
    gate = Gate()

    async def slowly(said: Any, _: Attempt) -> None:
        if said.number == 1:
            await gate.wait(1)

    bench.behave(slowly)
    await bench.harness.publish(bench.opened(1))
    await gate.has_seen(1)
    await bench.harness.publish(bench.grown(2))
    gate.open()
    await bench.has_written(1, 2)


async def test_an_event_is_parked_until_its_predecessor_comes(bench: Bench) -> None:
    before = count(PARKED, GROWN)
    its_headers = bench.harness.number(bench.opened(1))
    await bench.harness.publish(bench.grown(2))
    await bench.has_parked(1)
    await counted(PARKED, GROWN, expected=before + 1)
    await bench.harness.publish(bench.opened(1), headers=its_headers)
    await bench.has_written(1, 2)
    await bench.has_parked(0)


async def test_an_event_waits_for_a_predecessor_that_is_tried_again(bench: Bench) -> None:
    async def fail_once(said: Any, attempt: Attempt) -> None:
        if said.number == 1 and attempt == 1:
            raise ConnectionResetError("the gateway is away")

    bench.behave(fail_once)
    await bench.harness.publish(bench.opened(1))
    await bench.harness.publish(bench.opened(2))
    await bench.harness.publish(bench.grown(3))
    await bench.has_written(1, 2, 3)


async def test_an_event_is_released_when_its_predecessor_is_given_up(bench: Bench) -> None:
    async def never(said: Any, _: Attempt) -> None:
        if said.number == 1:
            raise ConnectionResetError("the gateway is away for good")

    bench.behave(never)
    await bench.harness.publish(bench.opened(1))
    await bench.harness.publish(bench.opened(2))
    await bench.harness.publish(bench.grown(3))
    await bench.has_written(2, 3)
    assert (await bench.dead_letter()).headers["queue"] == OPENED


async def test_giving_up_an_event_does_not_overtake_its_predecessor(bench: Bench) -> None:
    its_headers = bench.harness.number(bench.opened(1))
    unreadable = bench.harness.number(bench.grown(2))
    await bench.harness.publisher.publish("events", bench.grown(2).topic, b'{"number": 2}', unreadable, mandatory=True)
    await bench.has_parked(1)
    await bench.harness.publish(bench.opened(1), headers=its_headers)
    await bench.has_written(1)
    assert (await bench.dead_letter()).headers["queue"] == GROWN
    await bench.harness.publish(bench.grown(3))
    await bench.has_written(1, 3)


async def test_who_hears_only_some_topics_of_an_aggregate_does_not_wait_for_the_others(bench: Bench) -> None:
    bench.harness.number(Closed(account=bench.account, number=1))  # nobody ever publishes it
    await bench.harness.publish(bench.opened(2))
    bench.harness.number(Closed(account=bench.account, number=3))
    await bench.harness.publish(bench.grown(4))
    await bench.has_written(2, 4)


async def test_a_late_joiner_does_not_wait_for_what_was_said_before(bench: Bench) -> None:
    long_ago = int(time.time() * 1000) - 3_600_000
    headers = bench.harness.number(bench.grown(2))
    headers |= {"sequence": 2, "predecessors": json.dumps({Opened.topic: [1, long_ago]})}
    await bench.harness.publish(bench.grown(2), headers=headers)
    await bench.has_written(2)


async def test_what_was_said_before_a_subscriber_joined_has_its_effect_however_late_it_comes(bench: Bench) -> None:
    before = bench.harness.number(bench.opened(1)) | {"cloudEvents_time": "2026-01-01T00:00:00.000Z"}
    after = bench.harness.number(bench.opened(2)) | {"predecessors": json.dumps({Opened.topic: [1, 1_767_225_600_000]})}
    await bench.harness.publish(bench.opened(2), headers=after)
    await bench.has_written(2)
    await bench.harness.publish(bench.opened(1), headers=before)
    await bench.harness.publish(bench.opened(1), headers=before)
    await bench.has_written(2, 1)
    await bench.harness.publish(bench.opened(3))
    await bench.has_written(2, 1, 3)


async def test_headers_that_json_has_no_words_for_can_be_parked(bench: Bench) -> None:
    its_headers = bench.harness.number(bench.opened(1))
    strange = bench.harness.number(bench.opened(2)) | {"blob": bytearray(b"\xff")}
    await bench.harness.publish(bench.opened(2), headers=strange)
    await bench.has_parked(1)
    await bench.harness.publish(bench.opened(1), headers=its_headers)
    await bench.has_written(1, 2)


async def test_two_instances_apply_the_events_of_an_aggregate_in_order(
    bench: Bench, shared_amqp: str, shared_database: str
) -> None:
    async def dawdle(said: Any, _: Attempt) -> None:
        await asyncio.sleep(0.002 * (said.number % 3))

    bench.behave(dawdle)
    async with under_test(diary({bench.account: dawdle}), amqp=shared_amqp, database=shared_database):
        for number in range(20):
            await bench.harness.publish(bench.opened(number) if number % 2 else bench.grown(number))
        await bench.has_written(*range(20), within=20)


async def test_old_claims_are_forgotten_and_fresh_ones_kept(bench: Bench) -> None:
    service = bench.harness.service
    assert service is not None
    assert service.database is not None

    async def age_and_prune(tx: Transaction) -> None:
        await tx.session.execute(text("INSERT INTO inbox VALUES ('q', 'old', now() - interval '15 days')"))
        await tx.session.execute(text("INSERT INTO inbox VALUES ('q', 'new', now() - interval '13 days')"))
        await inbox.prune(tx.connection)

    await service.database.transact(Origin("test"), age_and_prune)
    async with bench.harness.session() as session:
        kept = (await session.execute(text("SELECT message_id FROM inbox WHERE queue = 'q'"))).scalars().all()
    assert kept == ["new"]


@pytest.mark.asyncio(loop_scope="function")
async def test_who_needs_no_order_does_not_wait(running: Start) -> None:
    bench = Bench(await running(diary(ordered=False)))
    its_headers = bench.harness.number(bench.opened(1))
    headers = await bench.harness.publish(bench.opened(2))
    await bench.has_written(2)
    await bench.harness.publish(bench.opened(2), headers=headers)
    await bench.harness.publish(bench.opened(1), headers=its_headers)
    await bench.has_written(2, 1)
    await bench.has_parked(0)


# --- any interleaving ------------------------------------------------------------------------------------------------


NAMES = ("a", "b", "c")


@st.composite
def _stories(draw: st.DrawFn) -> tuple[list[str], set[str], list[int]]:
    """The topics of an aggregate's events, which of them are heard, and in which order the events come (some twice)."""
    topics = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=8))
    hears = draw(st.sets(st.sampled_from(NAMES), min_size=1))
    every = list(range(1, len(topics) + 1))
    again = draw(st.lists(st.sampled_from(every), max_size=4))
    return topics, hears, draw(st.permutations([*every, *again]))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=_stories(), seed=st.integers(0, 1000))
async def test_whatever_order_events_come_in_two_consumers_apply_each_once_in_order(
    consumers: Database, story: tuple[list[str], set[str], list[int]], seed: int
) -> None:
    topics, hears, deliveries = story
    applied = await _applied(consumers, topics, hears, deliveries, random.Random(seed))
    assert applied == [number for number, topic in enumerate(topics, 1) if topic in hears]


async def _applied(
    database: Database, topics: list[str], hears: set[str], deliveries: list[int], chance: random.Random
) -> list[int]:
    """The order of the effects when two consumers take what comes; what they park comes back through the outbox."""
    account = new_token()
    joined = {name: datetime.fromtimestamp(0, UTC) for name in hears}
    applied: list[int] = []
    coming = [_event(account, number, topics) for number in deliveries if topics[number - 1] in hears]

    async def once(tx: Transaction, message: Incoming) -> None:
        if await inbox.claim(tx, message, joined) is Claim.OURS:
            applied.append(message.sequence or 0)
            await asyncio.sleep(chance.choice((0, 0.001)))

    async def consume() -> None:
        while coming:
            await database.transact(Origin("test"), partial(once, message=coming.pop(0)))
            coming.extend(await database.transact(Origin("test"), _sent_home))

    while coming:
        await asyncio.gather(consume(), consume())
    return applied


async def _sent_home(tx: Transaction) -> list[Incoming]:
    rows = (await tx.session.execute(text("DELETE FROM outbox RETURNING headers, body"))).all()
    return [incoming("q", row.headers, row.body) for row in rows]


def _event(account: str, number: int, topics: list[str]) -> Incoming:
    before = {topic: [sequence, 1] for sequence, topic in enumerate(topics[: number - 1], 1)}
    headers = {
        "cloudEvents_type": topics[number - 1],
        "cloudEvents_id": f"{account} {number}",
        "cloudEvents_source": "/tests",
        "cloudEvents_subject": account,
        "sequence": number,
        "predecessors": json.dumps(before),
    }
    return incoming("q", headers, b"")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def consumers(servers: RealServers) -> AsyncIterator[Database]:
    """The database of two consumers that have no broker."""
    url = servers.new_database()
    await migrate(url, None)
    database = Database(url, service="tests", says=frozenset())
    yield database
    await database.close()
    servers.drop_database(url)
