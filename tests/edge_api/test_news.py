"""Two edges that cache what one service says, on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import aio_pika
import httpx
import pytest

from broker import topology
from broker.running import running as serving
from broker.service import Cached, Http, Service
from contracts.base import Event, Message, Query
from edge_api.app import edge
from edge_api.settings import Settings
from tests.support.cuts import cut_connections, cuttable
from tests.support.eventually import eventually
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers


class Price(Message):
    asked: int


class GetPrice(Query[Price]):
    """What it costs; here, how often somebody asked."""

    topic: ClassVar[str] = "plug.get-price.v1"
    name: str


class PriceChanged(Event):
    """It costs something else."""

    topic: ClassVar[str] = "plug.price-changed.v1"
    subject: ClassVar[str] = "name"
    name: str


def plug() -> Service:
    """A service that counts its questions."""
    service, asked = Service("plug", version="1"), iter(range(1, 1_000_000))

    @service.answers(
        GetPrice,
        http=Http("GET", "/prices/{name}", who="anyone"),
        cache=Cached(3600, {PriceChanged: ("name", "name")}),
    )
    async def get_price(question: GetPrice) -> Price:
        return Price(asked=next(asked))

    return service


@asynccontextmanager
async def client_of(amqp: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an edge that runs in this process, once it caches."""
    app = edge(Settings(amqp_url=amqp))
    async with app.alive(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
        await eventually(lambda: caches(client), within=10)
        yield client


async def price(client: httpx.AsyncClient, name: str = "seven") -> int:
    response = await client.get(f"/prices/{name}")
    assert response.status_code == 200, response.text
    asked: int = response.json()["asked"]
    return asked


async def caches(client: httpx.AsyncClient) -> bool:
    return await price(client, "probe") == await price(client, "probe")


async def change(amqp: str, name: str) -> None:
    """Say that a price has changed, as the service's relay would."""
    async with await aio_pika.connect(amqp) as connection, connection.channel() as channel:
        events = await channel.get_exchange(topology.EVENTS, ensure=False)
        message = aio_pika.Message(PriceChanged(name=name).model_dump_json().encode())
        await events.publish(message, PriceChanged.topic)


async def test_an_event_makes_an_answer_stale_at_every_edge_within_a_second(amqp: str) -> None:
    async with serving(plug(), amqp_url=amqp, database_url=None), client_of(amqp) as one, client_of(amqp) as other:
        before = [await price(one), await price(other), await price(one, "eight")]
        assert [await price(one), await price(other), await price(one, "eight")] == before
        await change(amqp, "seven")
        for client, old in ((one, before[0]), (other, before[1])):
            await eventually(lambda client=client, old=old: is_newer(client, old), within=1)  # type: ignore[misc]
        assert await price(one, "eight") == before[2]


async def is_newer(client: httpx.AsyncClient, old: int) -> bool:
    return await price(client) > old


async def test_an_edge_that_may_have_missed_an_event_asks_again(amqp: str, servers: RealServers) -> None:
    login = cuttable(servers, amqp)
    async with serving(plug(), amqp_url=login, database_url=None), client_of(login) as client:
        before = await price(client)
        await asyncio.to_thread(cut_connections, servers, login)
        await change(amqp, "seven")
        await eventually(lambda: answered_anew(client, before), within=10)
        await eventually(lambda: caches(client), within=10)


async def answered_anew(client: httpx.AsyncClient, before: int) -> bool:
    response = await client.get("/prices/seven")
    return response.status_code == 200 and response.json()["asked"] > before


async def test_only_what_anyone_may_ask_can_be_cached() -> None:
    service = Service("plug", version="1")
    with pytest.raises(ValueError, match="GetPrice can't be cached: only what anyone may ask over HTTP can"):
        service.answers(GetPrice, http=Http("GET", "/prices/{name}"), cache=Cached(60, {}))
    with pytest.raises(ValueError, match="GetPrice has no field sku that plug"):
        service.answers(
            GetPrice,
            http=Http("GET", "/prices/{name}", who="anyone"),
            cache=Cached(60, {PriceChanged: ("sku", "name")}),
        )
