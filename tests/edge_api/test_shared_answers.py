"""Edges that keep answers together, in a real Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from broker.lane import Answer
from contracts.presence import Cache as Declared
from contracts.presence import Stale
from edge_api.cache import Cache
from edge_api.redis_client import AWAY_SECONDS
from edge_api.responses import Response
from edge_api.shared_answers import SharedAnswers
from tests.edge_api.world import offer
from tests.support.eventually import eventually
from tests.support.redis import OwnRedis

pytestmark = pytest.mark.servers
CHANGED, CLOSED = "shop.thing-changed.v1", "shop.shop-closed.v1"
THING = offer(
    "shop.get-thing.v1",
    "GET",
    "/things/{id}",
    cache=Declared(seconds=60, stale=(Stale(event=CHANGED, field="id", among="id"), Stale(event=CLOSED))),
)
Start = Callable[[], Awaitable["Edge"]]


class Edge:
    """One of several, that asks the shop what it has not kept."""

    def __init__(self, redis: OwnRedis, shop: "Shop") -> None:
        self.shared = SharedAnswers(redis.url)
        self.cache = Cache(shared=self.shared)
        self._shop = shop

    def hears(self) -> None:
        """From now on."""
        self.cache.hears(frozenset({CHANGED, CLOSED}), [THING])

    async def got(self, thing: str = "7", **headers: bytes) -> str:
        """What a client gets who may get what was kept."""
        scope = {"raw_path": f"/things/{thing}".encode(), "query_string": b""}
        said = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        found = self.cache.find(THING, scope, said)
        if found is None:
            filled = await self.cache.fill(THING, scope, said, {"id": thing}, self._shop.asked, check=lambda: None)
            assert isinstance(filled, Response)
            found = filled
        return found.body.decode()


class Shop:
    """Answers with how often it was asked, when it may."""

    def __init__(self) -> None:
        self.times = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def asked(self) -> Answer:
        self.times += 1
        body = str(self.times).encode()
        await self.may_answer.wait()
        return Answer(body)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    redis = OwnRedis(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def start(redis: OwnRedis, shop: Shop) -> AsyncIterator[Start]:
    """Start an edge that has found Redis and hears all events."""
    staying: list[asyncio.Task[None]] = []

    async def edge() -> Edge:
        edge = Edge(redis, shop)
        staying.append(asyncio.create_task(edge.shared.stay_connected()))
        edge.hears()
        await eventually(lambda: finds(edge), within=10)
        return edge

    yield edge
    for task in staying:
        task.cancel()
    await asyncio.wait(staying)


async def finds(edge: Edge) -> bool:
    """Whether Redis answers it."""
    return await edge.shared.find("probe", []) is not None


async def is_kept(edge: Edge, thing: str = "7") -> bool:
    """Whether somebody's answer about it is in Redis and may be given."""
    tags = [f"{event} {THING.topic}" for event in sorted({CHANGED, CLOSED})] + [f"{CHANGED} {THING.topic} {thing}"]
    found = await edge.shared.find(f"{THING.topic} /things/{thing}?", sorted(tags))
    return found is not None and found.body is not None


async def test_what_one_has_asked_the_other_knows(start: Start, shop: Shop) -> None:
    one, other = await start(), await start()
    assert await one.got() == "1"
    await eventually(lambda: is_kept(other))
    assert [await other.got(), await other.got()] == ["1", "1"]
    assert await other.got("8") == "2"
    assert await one.got() == "1"
    assert shop.times == 2


async def test_what_is_kept_by_others_gets_no_longer_life(start: Start) -> None:
    one, other = await start(), await start()
    await one.got()
    await eventually(lambda: is_kept(other))
    for key in await one.shared._redis.keys("hedgerow:answer:*"):
        await one.shared._redis.pexpire(key, 200)
    assert await other.got() == "1"

    async def is_asked_again() -> bool:
        return await other.got() == "2"

    await eventually(is_asked_again, within=5)


@pytest.mark.parametrize(
    ("event", "data", "others"), [(CHANGED, {"id": "7"}, "2"), (CLOSED, {}, "4"), (CHANGED, {}, "4")]
)
async def test_what_one_hears_is_stale_for_all(start: Start, event: str, data: object, others: str) -> None:
    one, other, late = await start(), await start(), await start()
    assert [await one.got("7"), await one.got("8")] == ["1", "2"]
    await eventually(lambda: is_kept(other, "7"))
    await eventually(lambda: is_kept(other, "8"))
    other.cache.news(event, data)
    assert await other.got("7") == "3"
    assert await late.got("8") == others


@pytest.mark.parametrize("news", [f'[["{CHANGED}", {{"id": "7"}}]]', "nonsense"])
async def test_who_strikes_does_not_find_it_any_more_even_at_once(
    start: Start, monkeypatch: pytest.MonkeyPatch, news: str
) -> None:
    edge = await start()
    await edge.got()
    await eventually(lambda: is_kept(edge))
    delete = edge.shared._redis.delete

    async def slowly(*tokens: str) -> None:
        await asyncio.sleep(0.05)
        await delete(*tokens)

    monkeypatch.setattr(edge.shared._redis, "delete", slowly)
    edge.cache.told(news, by="shop.change-thing.v1")
    assert await edge.got() == "2"


async def test_an_answer_on_its_way_when_the_event_came_is_found_by_nobody(start: Start, shop: Shop) -> None:
    slow, other = await start(), await start()
    shop.may_answer.clear()
    asking = asyncio.create_task(slow.got())
    await eventually(lambda: has_been_asked(shop, 1))
    other.cache.news(CHANGED, {"id": "7"})
    await finds(other)
    shop.may_answer.set()
    assert await asking == "1"
    await asyncio.gather(*slow.shared._keeping)
    assert await other.got() == "2"


async def has_been_asked(shop: Shop, times: int) -> bool:
    return shop.times >= times


async def test_who_begins_to_hear_believes_nothing_that_was_kept_before(start: Start) -> None:
    edge = await start()
    await edge.got()
    await eventually(lambda: is_kept(edge))
    assert await (await start()).got() == "2"
    edge.cache.is_deaf()
    edge.hears()
    assert await edge.got() == "3"


async def test_who_wants_to_know_it_anew_is_not_told_what_others_know(start: Start) -> None:
    one, other = await start(), await start()
    await one.got()
    await eventually(lambda: is_kept(other))
    assert await other.got(cache_control=b"no-cache") == "2"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_while_redis_is_away_each_is_alone_and_what_was_missed_is_not_believed(
    start: Start, redis: OwnRedis, how: signal.Signals
) -> None:
    edge = await start()
    await edge.got()
    await eventually(lambda: is_kept(edge))
    redis.signal(how)
    edge.cache.news(CHANGED, {"id": "7"})
    assert [await edge.got(), await edge.got()] == ["2", "2"]
    if how is signal.SIGSTOP:
        redis.signal(signal.SIGCONT)
    else:
        redis.kill()
        redis.start()
    await eventually(lambda: finds(edge), within=AWAY_SECONDS + 10)
    assert not await is_kept(edge)


async def test_a_redis_that_never_was_there_is_only_no_help(tmp_path: Path, shop: Shop) -> None:
    edge = Edge(redis=type("Nowhere", (), {"url": "redis://127.0.0.1:1/0"})(), shop=shop)
    edge.hears()
    assert [await edge.got(), await edge.got()] == ["1", "1"]
