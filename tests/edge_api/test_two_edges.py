"""Two whole edges and a Redis."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from broker.running import running as serving
from broker.service import Cached, Http, Service
from contracts.base import Message, Query
from edge_api.redis_client import AWAY_SECONDS
from tests.edge_api.test_https import client_of, listening
from tests.support.eventually import eventually
from tests.support.redis import OwnRedis

pytestmark = pytest.mark.servers
LIMIT = 100
_numbers = itertools.count(1)


class Found(Message):
    name: str


class FindThing(Query[Found]):
    """A thing; the answer may be kept."""

    topic: ClassVar[str] = "finder.find-thing.v1"
    name: str


def finder() -> Service:
    """A service whose answers edges share."""
    service = Service("finder", version="1")

    @service.answers(FindThing, http=Http("GET", "/things/{name}", who="anyone"), cache=Cached(60, {}))
    async def find_thing(question: FindThing) -> Found:
        return Found(name=question.name)

    return service


@asynccontextmanager
async def edge(amqp: str, redis: OwnRedis) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one more edge, which has found the service; `X-Forwarded-For` says whose it is."""
    told = {
        "HEDGEROW_AMQP_URL": amqp,
        "HEDGEROW_REDIS_URL": redis.url,
        "HEDGEROW_LIMITS": f"address={LIMIT}/3600 reads=1000000/1",
        "HEDGEROW_TRUSTED_PROXIES": "127.0.0.1",
    }
    async with listening(**told) as port, client_of(port) as client:
        await eventually(lambda: answers(client), within=20)
        yield client


async def answers(client: httpx.AsyncClient) -> bool:
    try:
        return await ask(client, "192.0.2.1") == 200
    except httpx.TransportError:
        return False


async def ask(client: httpx.AsyncClient, who: str, thing: Any = 1) -> int:
    return (await client.get(f"/things/{thing}", headers={"X-Forwarded-For": who})).status_code


async def test_they_let_through_what_one_may_and_when_redis_is_killed_under_load_nothing_fails(
    amqp: str, tmp_path: Path
) -> None:
    redis = OwnRedis(tmp_path)
    redis.start()
    try:
        async with (
            serving(finder(), amqp_url=amqp, database_url=None),
            edge(amqp, redis) as one,
            edge(amqp, redis) as two,
        ):
            await eventually(lambda: share_one_limit(one, two), within=20)
            statuses = await asyncio.gather(*(under_load(edge, redis) for edge in (one, two)))
            assert set(statuses[0] | statuses[1]) == {200}
            # Each counts for itself now, and the limit holds for each.
            alone = [Counter([await ask(edge, "192.0.2.3") for _ in range(LIMIT + 10)]) for edge in (one, two)]
            assert alone == [{200: LIMIT, 429: 10}] * 2
    finally:
        redis.kill()


async def share_one_limit(*edges: httpx.AsyncClient) -> bool:
    """A new client is let through as often as the limit says; not by an edge that Redis answered too late for once."""
    who = f"203.0.113.{next(_numbers)}"
    statuses = Counter(await asyncio.gather(*(ask(edge, who) for _ in range(LIMIT) for edge in edges)))
    assert statuses[200] == pytest.approx(LIMIT, rel=0.05)
    assert statuses[429] == len(edges) * LIMIT - statuses[200]
    return True


async def under_load(client: httpx.AsyncClient, redis: OwnRedis) -> Counter[int]:
    """What was answered while Redis was killed and for some time afterwards, each time to somebody else."""
    statuses, number, killed = Counter[int](), 0, None
    while killed is None or time.monotonic() < killed + 1.5 * AWAY_SECONDS:
        who = (f"198.51.{number % 256}.{at}" for at in range(8))
        number += 1
        statuses.update(await asyncio.gather(*(ask(client, each, thing=number) for each in who)))
        if number == 20:
            redis.kill()
            killed = time.monotonic()
    return statuses
