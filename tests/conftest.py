"""Fixtures: real servers once a run; a virtual host and a database of its own for every test that asks."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest

from broker.service import Service
from tests.support.harness import Harness, under_test
from tests.support.servers import RealServers
from tests.support.servers import servers as real_servers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run in parallel by file (`-n 2 --dist loadgroup`); what shares the platform stays together and, since it takes
    longest, begins first."""
    groups = {item: _group(item.path.relative_to(Path(__file__).parent)) for item in items}
    items.sort(key=lambda item: groups[item] != "system")
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))


def _group(file: Path) -> str:
    return "system" if file.parts[0] == "system" else str(file)


class Start(Protocol):
    """Starts a service under test."""

    async def __call__(self, service: Service, *, with_database: bool = True) -> Harness: ...


@pytest.fixture(scope="session")
def servers() -> Iterator[RealServers]:
    """A real RabbitMQ and a real PostgreSQL."""
    with real_servers() as found:
        yield found


@pytest.fixture
def amqp(servers: RealServers) -> Iterator[str]:
    """The address of a fresh virtual host."""
    url = servers.new_vhost()
    yield url
    servers.drop_vhost(url)


@pytest.fixture
def database(servers: RealServers) -> Iterator[str]:
    """The address of a fresh database."""
    url = servers.new_database()
    yield url
    servers.drop_database(url)


@pytest.fixture
async def running(amqp: str, database: str) -> AsyncIterator[Start]:
    """Start a service: `bench = await running(service)`; it stops with the test."""
    async with AsyncExitStack() as stack:

        async def start(service: Service, *, with_database: bool = True) -> Harness:
            url = database if with_database else None
            return await stack.enter_async_context(under_test(service, amqp=amqp, database=url))

        yield start
