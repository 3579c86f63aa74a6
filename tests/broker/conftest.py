"""What tests of the broker room share: one diary a module, where each test has an account of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from broker import topology
from tests.broker.diary import Bench, Pages, diary
from tests.support.harness import under_test
from tests.support.servers import RealServers

QUICK_TIERS = {"1s": 0.1, "10s": 0.15, "1m": 0.2, "10m": 0.25}


@pytest.fixture
def quick_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry tiers that a test can wait for, of use to services that start after."""
    monkeypatch.setattr(topology, "TIERS", QUICK_TIERS)


@pytest.fixture(scope="module")
def shared_amqp(servers: RealServers) -> Iterator[str]:
    """A virtual host for the tests of one module; its retry tiers are quick."""
    url = servers.new_vhost()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topology, "TIERS", QUICK_TIERS)
        yield url
    servers.drop_vhost(url)


@pytest.fixture(scope="module")
def shared_database(servers: RealServers) -> Iterator[str]:
    """A database for the tests of one module."""
    url = servers.new_database()
    yield url
    servers.drop_database(url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_diary(shared_amqp: str, shared_database: str) -> AsyncIterator[Bench]:
    """A diary that runs for all tests of a module."""
    pages = Pages()
    async with under_test(diary(pages), amqp=shared_amqp, database=shared_database) as harness:
        yield Bench(harness, pages)


@pytest.fixture
def bench(shared_diary: Bench) -> Bench:
    """The module's diary, opened at a fresh account."""
    shared_diary.turn_the_page()
    return shared_diary
