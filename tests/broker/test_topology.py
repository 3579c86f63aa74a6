"""Exchanges and queues as the broker has them."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import aio_pika
import httpx
import pytest

from broker import topology
from broker.connection import declare
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers
CERTAIN = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


class Broker:
    """What the management API tells about one virtual host."""

    def __init__(self, servers: RealServers, amqp: str) -> None:
        parts = urlsplit(servers.rabbitmq_management)
        self._vhost = quote(unquote(urlsplit(amqp).path[1:]), safe="")
        self._client = httpx.Client(
            base_url=f"{parts.scheme}://{parts.hostname}:{parts.port}/api",
            auth=(unquote(parts.username or ""), unquote(parts.password or "")),
            trust_env=False,
        )

    def close(self) -> None:
        """Close the session."""
        self._client.close()

    def all(self, kind: str) -> dict[str, Any]:
        """Everything of a kind, by its name."""
        answer = self._client.get(f"/{kind}/{self._vhost}").raise_for_status().json()
        return {thing["name"]: thing for thing in answer}

    def bindings(self, queue: str) -> set[tuple[str, str]]:
        """The exchanges and keys that lead to a queue."""
        answer = self._client.get(f"/queues/{self._vhost}/{quote(queue, safe='')}/bindings").raise_for_status()
        return {(binding["source"], binding["routing_key"]) for binding in answer.json() if binding["source"]}


@pytest.fixture(scope="module")
def amqp(servers: RealServers) -> Iterator[str]:
    """The address of a fresh virtual host with the topology of one service in it, declared twice."""
    url = servers.new_vhost()
    yield url
    servers.drop_vhost(url)


@pytest.fixture
async def broker(servers: RealServers, amqp: str) -> Any:
    """The broker, after everything was declared (again)."""
    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        await declare(channel, topology.shared())
        await declare(channel, topology.requests("diary", ["diary.read.v1"]))
        await declare(channel, topology.work("diary", "diary.write.v1", exchange=topology.COMMANDS))
        await declare(channel, topology.work("diary", "tests.opened.v1", exchange=topology.EVENTS))
    broker = Broker(servers, amqp)
    yield broker
    broker.close()


async def test_every_exchange_that_services_write_to_is_a_durable_topic_exchange(broker: Broker) -> None:
    exchanges = broker.all("exchanges")
    names = "requests", "commands", "events", "presence", "retries", "returns", "dead-letters"
    assert {(exchanges[name]["type"], exchanges[name]["durable"]) for name in names} == {("topic", True)}
    assert exchanges["replies"]["type"] == "direct"


async def test_declaring_twice_changes_nothing(broker: Broker, amqp: str) -> None:
    before = {name: queue["arguments"] for name, queue in broker.all("queues").items()}
    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        await declare(channel, topology.shared())
        await declare(channel, topology.requests("diary", ["diary.read.v1"]))
        await declare(channel, topology.work("diary", "diary.write.v1", exchange=topology.COMMANDS))
    assert {name: queue["arguments"] for name, queue in broker.all("queues").items()} == before


async def test_work_queues_lose_nothing_when_they_dead_letter(broker: Broker) -> None:
    queues = broker.all("queues")
    for name in ("diary.write.v1", "diary.tests.opened.v1"):
        assert queues[name]["type"] == "quorum"
        assert queues[name]["durable"]
        assert queues[name]["arguments"].items() >= CERTAIN.items()
        assert queues[name]["arguments"]["x-dead-letter-exchange"] == "dead-letters"
        assert queues[name]["arguments"]["x-dead-letter-routing-key"] == name


async def test_retry_tiers_wait_longer_each_time_and_lose_nothing_on_the_way_home(broker: Broker) -> None:
    queues = broker.all("queues")
    tiers = {name: queues[f"retries.{name}"]["arguments"] for name in ("1s", "10s", "1m", "10m")}
    assert [tier["x-message-ttl"] for tier in tiers.values()] == [1_000, 10_000, 60_000, 600_000]
    assert all(tier.items() >= CERTAIN.items() for tier in tiers.values())
    assert {tier["x-dead-letter-exchange"] for tier in tiers.values()} == {"returns"}
    assert {tier["x-queue-type"] for tier in tiers.values()} == {"quorum"}
    assert broker.bindings("retries.10s") == {("retries", "10s.#")}


async def test_a_work_queue_hears_its_topic_and_what_comes_home(broker: Broker) -> None:
    assert broker.bindings("diary.write.v1") == {("commands", "diary.write.v1"), ("returns", "*.diary.write.v1")}
    assert broker.bindings("diary.tests.opened.v1") == {
        ("events", "tests.opened.v1"),
        ("returns", "*.diary.tests.opened.v1"),
    }


async def test_history_and_manifests_are_streams_of_bounded_size(broker: Broker) -> None:
    queues = broker.all("queues")
    for name in ("events.history", "presence.manifests"):
        assert queues[name]["type"] == "stream"
        assert queues[name]["arguments"]["x-max-length-bytes"] > 0
    assert broker.bindings("events.history") == {("events", "#")}


async def test_dead_letters_are_kept_in_a_quorum_queue_without_an_end(broker: Broker) -> None:
    assert broker.all("queues")["dead-letters"]["arguments"] == {"x-queue-type": "quorum"}
    assert broker.bindings("dead-letters") == {("dead-letters", "#")}


async def test_every_queue_names_its_type(broker: Broker) -> None:
    assert {name for name, queue in broker.all("queues").items() if "x-queue-type" not in queue["arguments"]} == set()


async def test_deliveries_are_limited_in_every_quorum_queue_but_that_of_the_dead_letters(broker: Broker) -> None:
    (policy,) = broker.all("policies").values()
    assert policy["definition"] == {"delivery-limit": 20}
    limited = {name for name in broker.all("queues") if re.search(policy["pattern"], name)}
    assert limited == set(broker.all("queues")) - {"dead-letters"}
