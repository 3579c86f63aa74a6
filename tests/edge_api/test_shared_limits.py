"""Rates that several edges keep together, in a real Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from edge_api.clients import Clients
from edge_api.limits import Charge, Limits, Memory, Rate
from edge_api.problems import RefusedError
from edge_api.redis_client import AWAY_SECONDS
from edge_api.shared_limits import Shared
from tests.support.counting import Counting
from tests.support.eventually import eventually
from tests.support.redis import OwnRedis

pytestmark = pytest.mark.servers
RATE = Rate("address", 200, 3600)
NARROW = Rate("writes", 20, 3600)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    redis = OwnRedis(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@asynccontextmanager
async def stores(redis: OwnRedis, *, number: int = 1) -> AsyncIterator[list[Shared]]:
    """Of so many edges, all of which have found Redis."""
    async with AsyncExitStack() as stack:
        shared = [Shared(redis.url, Memory()) for _ in range(number)]
        for store in shared:
            staying = asyncio.create_task(store.stay_connected())
            stack.push_async_callback(_ended, staying)
            await eventually(lambda store=store: counts_together(store), within=10)  # type: ignore[misc]
        yield shared


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def counts_together(store: Shared) -> bool:
    alone = Counting("hedgerow_http_limits_alone_total")
    await store.charge([("probe", RATE)])
    return alone.more == 0


async def passing(store: Shared, times: int, charge: Charge) -> int:
    """How many of so many requests at once pass."""
    ahead = await asyncio.gather(*(store.charge(charge) for _ in range(times)))
    return sum(all(rate.is_open(each) for (_, rate), each in zip(charge, one, strict=True)) for one in ahead)


async def test_two_edges_let_through_what_one_may(redis: OwnRedis) -> None:
    async with stores(redis, number=2) as both:
        passed = await asyncio.gather(*(passing(store, 150, [("someone", RATE)]) for store in both))
        assert sum(passed) == RATE.requests
        assert min(passed) > 0
        assert await passing(both[0], 10, [("somebody else", RATE)]) == 10


async def test_what_one_limit_refuses_uses_up_none_of_the_others(redis: OwnRedis) -> None:
    async with stores(redis) as (store,):
        assert await passing(store, 50, [("wide", RATE), ("narrow", NARROW)]) == NARROW.requests
        (ahead,) = await store.charge([("wide", RATE)])
        assert RATE.left(ahead) == RATE.requests - NARROW.requests


async def test_many_requests_cost_few_questions(redis: OwnRedis) -> None:
    async with stores(redis) as (store,):
        before = (await store._redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
        await passing(store, 1000, [("someone", RATE)])
        assert (await store._redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - before <= 5


async def test_what_nobody_asks_for_any_more_is_forgotten(redis: OwnRedis) -> None:
    async with stores(redis) as (store,):
        await store.charge([("someone", Rate("quick", 1, 1))])
        assert 0 < await store._redis.pttl("hedgerow:limit:someone") <= 1000


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_redis_that_is_away_under_load_stops_nobody(redis: OwnRedis, how: signal.Signals) -> None:
    async with stores(redis) as (store,):
        limits, answers = Limits({"address": RATE}, store, Clients()), 0
        over = asyncio.Event()

        async def ask_on(number: int) -> None:
            nonlocal answers
            while not over.is_set():
                await limits.count(f"192.0.2.{number}.{answers}")
                answers += 1
                await asyncio.sleep(0.001)

        asking = [asyncio.create_task(ask_on(number)) for number in range(20)]
        await asyncio.sleep(0.1)
        alone = Counting("hedgerow_http_limits_alone_total")
        redis.signal(how)
        await eventually(lambda: _holds(alone.more > 200), within=10)
        if how is signal.SIGSTOP:
            redis.signal(signal.SIGCONT)
        else:
            redis.kill()
            redis.start()
        await eventually(lambda: counts_together(store), within=AWAY_SECONDS + 10)
        over.set()
        await asyncio.gather(*asking)


async def _holds(condition: bool) -> bool:
    return condition


async def test_a_redis_that_never_was_there_is_no_reason_to_refuse(tmp_path: Path) -> None:
    store = Shared("redis://127.0.0.1:1/0", Memory())
    limits = Limits({"address": Rate("address", 2, 3600)}, store, Clients())
    for _ in range(2):
        await limits.count("192.0.2.1")
    with pytest.raises(RefusedError):
        await limits.count("192.0.2.1")
