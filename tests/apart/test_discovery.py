"""Instances come and go while everything runs: they are found, share the work, and are missed within seconds.

The launcher leaves the catalogue out here, so that nobody starts again what a test stops.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.support.customer import Customer, staff_of, visitor
from tests.support.eventually import eventually
from tests.support.platform import Platform, Process, end, on_shared_servers
from tests.support.servers import RealServers

REQUESTS = 200


@pytest.fixture(scope="module")
def platform(servers: RealServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose launcher does not start the catalogue."""
    with on_shared_servers(servers, tmp_path_factory.mktemp("without"), "--without", "catalog") as it:
        yield it


async def test_a_second_instance_is_seen_within_five_seconds_and_shares_the_load(platform: Platform) -> None:
    async with staff_of(platform) as staff, catalog_of(platform) as running:
        await eventually(lambda: instances_are(staff, 1), within=20)
        running.append(platform.start_instance("catalog"))
        await eventually(lambda: serving(platform, 2), within=20)
        await eventually(lambda: instances_are(staff, 2), within=5)
        anew = {"cache-control": "no-cache"}
        await asyncio.gather(*(staff.http.get("/products", headers=anew) for _ in range(REQUESTS)))
        # RabbitMQ gathers its figures every five seconds.
        shares = await eventually(lambda: deliveries(platform, "catalog.requests"), within=15, every=0.5)
    assert len(shares) == 2
    assert min(shares) > REQUESTS / 5, f"of {REQUESTS} requests the instances took {shares}"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_with_nobody_there_the_answer_is_503_at_once_until_somebody_comes(
    platform: Platform, how: signal.Signals
) -> None:
    edge = platform.pids["edge"]
    async with visitor(platform.edge) as guest, catalog_of(platform) as running:
        await eventually(lambda: answers(guest, 200), within=20)
        for instance in running:
            end(instance, how)
        await eventually(lambda: answers(guest, 503, in_less_than=0.1), within=5)
        await another_edge_answers_503(platform)
        running.append(platform.start_instance("catalog"))
        await eventually(lambda: answers(guest, 200), within=20)
    assert platform.pids["edge"] == edge


@asynccontextmanager
async def catalog_of(platform: Platform) -> AsyncIterator[list[Process]]:
    """One instance of the catalogue; those that a test adds end with it."""
    running = [platform.start_instance("catalog")]
    try:
        yield running
    finally:
        for instance in running:
            end(instance, signal.SIGKILL)


async def answers(guest: Customer, status: int, *, in_less_than: float = 5) -> bool:
    """Whether GET /products has this status; one that says to come back must say when."""
    started = time.monotonic()
    try:
        answer = await guest.http.get("/products", timeout=0.5)
    except httpx.TimeoutException:
        raise AssertionError("no answer") from None
    took = time.monotonic() - started
    assert answer.status_code == status
    assert took < in_less_than
    assert ("retry-after" in answer.headers) == (status == 503)
    return True


async def another_edge_answers_503(platform: Platform) -> None:
    """An edge that never saw the catalogue knows that there is one: 503, not 404."""
    process, address = platform.start_edge()
    try:
        async with visitor(address) as guest:
            await eventually(lambda: is_ready(guest), within=20)
            assert await answers(guest, 503)
    finally:
        end(process)


async def is_ready(guest: Customer) -> bool:
    """Whether the edge is ready."""
    try:
        return (await guest.http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def instances_are(staff: Customer, wanted: int) -> bool:
    """Whether so many instances of the catalogue are known."""
    page = await staff.get("/services")
    found = {service["name"]: len(service["instances"]) for service in page["services"]}
    return found.get("catalog") == wanted


async def serving(platform: Platform, wanted: int) -> bool:
    """Whether so many instances consume the catalogue's requests, as the broker sees it."""
    consumers = await asyncio.to_thread(platform.broker, "consumers")
    found: int = sum(consumer["queue"]["name"] == "catalog.requests" for consumer in consumers)
    return found == wanted


async def deliveries(platform: Platform, queue: str) -> list[int]:
    """How many messages each consumer of the queue got, once the broker has counted all of them."""
    consumers = await asyncio.to_thread(platform.broker, "consumers")
    channels = {each["channel_details"]["name"] for each in consumers if each["queue"]["name"] == queue}
    counted = {
        channel["name"]: channel.get("message_stats", {}).get("deliver", 0)
        for channel in await asyncio.to_thread(platform.broker, "channels")
    }
    shares = [counted.get(channel, 0) for channel in channels]
    assert sum(shares) >= REQUESTS
    return shares
