"""Workers that are killed: what they had begun is answered by others, and what kills them is stopped."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker import topology
from broker.lane import Ask, Requester
from broker.running import running
from contracts.base import Operation, Refusal, request_poisoned
from tests.broker.lane.carriers import Lane, next_message, own_queue, publish
from tests.broker.lane.doomed import service
from tests.broker.lane.words import Die, Echo, Hold, Work
from tests.support.counting import Counting
from tests.support.eventually import eventually
from tests.support.processes import Spawn, spawning

pytestmark = pytest.mark.servers


@pytest.fixture
async def spawn() -> AsyncIterator[Spawn]:
    """Starts workers."""
    async with spawning("tests.broker.lane.doomed") as spawn:
        yield spawn


async def consumers(lane: Lane, number: int) -> None:
    """Wait until so many instances take requests."""

    async def consumed() -> bool:
        channel = await lane.channel()
        queue = await channel.declare_queue(
            topology.requests_queue("doomed"), durable=True, arguments={"x-queue-type": "classic"}
        )
        return queue.declaration_result.consumer_count == number

    await eventually(consumed, within=20, every=0.2)


async def ask(requester: Requester, operation: Operation[Echo], *, within: float = 15) -> Echo | Refusal:
    """Ask with plenty of time to go."""
    return await Ask(requester, time.time() + within)(operation)


async def test_what_a_killed_worker_had_begun_is_answered_by_another(lane: Lane, spawn: Spawn, tmp_path: Path) -> None:
    doomed = await spawn(lane.amqp, HOLD="1", HEDGEROW_TEST_FOLDER=str(tmp_path))
    requester = await lane.requester()
    await consumers(lane, 1)
    words = [f"word-{number}" for number in range(8)]
    asked = [asyncio.create_task(ask(requester, Hold(word=word))) for word in words]

    async def all_begun() -> bool:
        return len(os.listdir(tmp_path)) == len(words)

    await eventually(all_begun)
    redelivered = Counting("hedgerow_redeliveries_total", queue="doomed.requests")
    async with running(service, amqp_url=lane.amqp, database_url=None):
        doomed.kill()
        answers = await asyncio.gather(*asked)
    assert [answer.word for answer in answers if isinstance(answer, Echo)] == words
    assert redelivered.more == len(words)


async def test_a_request_that_kills_whoever_tries_it_is_refused_and_kept(lane: Lane, spawn: Spawn) -> None:
    workers = [await spawn(lane.amqp) for _ in range(3)]
    requester = await lane.requester()
    await consumers(lane, 3)
    asked = asyncio.create_task(ask(requester, Die(word="now")))
    await asyncio.wait_for(asyncio.gather(*(worker.wait() for worker in workers)), 10)
    async with running(service, amqp_url=lane.amqp, database_url=None):
        answer = await asked
        assert answer == request_poisoned()
    channel = await lane.channel()
    kept = await next_message(await channel.get_queue(topology.DEAD_LETTERS))
    assert (json.loads(kept.body), kept.headers["suspected-topic"]) == ({"word": "***"}, Die.topic)


@pytest.mark.parametrize("lane", ["wire"], indirect=True)  # the other one acknowledges one by one
async def test_workers_that_finish_in_any_order_and_are_killed_meanwhile_lose_nothing(
    lane: Lane, spawn: Spawn, tmp_path: Path
) -> None:
    settings = {"HEDGEROW_LANE": lane.carried_by, "HEDGEROW_TEST_FOLDER": str(tmp_path)}
    doomed = [await spawn(lane.amqp, **settings) for _ in range(3)]
    requester = await lane.requester()
    await consumers(lane, 3)
    words = [f"word-{number}" for number in range(1000)]
    asked = [asyncio.create_task(ask(requester, Work(word=word), within=60)) for word in words]

    async def done(number: int) -> bool:
        return len(os.listdir(tmp_path)) >= number

    await eventually(lambda: done(100))
    doomed[0].kill()
    await eventually(lambda: done(300))
    doomed[1].kill()
    answers = await asyncio.gather(*asked)
    answered = [answer.word for answer in answers if isinstance(answer, Echo)]
    assert answered == words
    assert set(answered) <= set(os.listdir(tmp_path))


async def test_a_malformed_request_that_was_delivered_again_does_not_block_those_behind_it(lane: Lane) -> None:
    channel, requester = await lane.channel(), await lane.requester()
    async with running(service, amqp_url=lane.amqp, database_url=None):
        dropped = Counting("hedgerow_lane_dropped_total", reason="malformed")
        await publish(channel, topology.REQUESTS, topology.suspects_key("doomed"), headers={"deadline": "soon"})

        async def counted() -> bool:
            return dropped.more == 1

        await eventually(counted)
        headers = {"deadline": int(time.time() * 1000) + 5000, "suspected-topic": Hold.topic}
        mine = await own_queue(channel, topology.REPLIES, "mine")
        properties = {"headers": headers, "reply_to": "mine|replies"}
        await publish(channel, topology.REQUESTS, topology.suspects_key("doomed"), b'{"word":"fine"}', **properties)
        assert b"fine" in (await next_message(mine)).body
        assert await ask(requester, Hold(word="too"))
