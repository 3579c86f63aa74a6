"""One platform for the tests that leave it as they found it."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from infra.launcher.provision import Servers
from tests.support.customer import Customer, customer_of, staff_of
from tests.support.platform import Platform, running_platform
from tests.support.servers import RealServers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is a test of the whole platform on real servers."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.servers)


@contextmanager
def on_shared_servers(
    servers: RealServers, folder: Path, *arguments: str, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Platform]:
    """A platform in a virtual host and a database of its own."""
    amqp, database = servers.new_vhost(), servers.new_database()
    try:
        given = Servers(amqp, servers.rabbitmq_management, database)
        with running_platform(folder, given, *arguments, settings=settings) as platform:
            yield platform
    finally:
        servers.drop_vhost(amqp)
        servers.drop_database(database)


@pytest.fixture(scope="session")
def platform(servers: RealServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform."""
    with on_shared_servers(servers, tmp_path_factory.mktemp("platform")) as it:
        yield it


@pytest.fixture
async def customer(platform: Platform) -> AsyncIterator[Customer]:
    """A new customer of the platform."""
    async with customer_of(platform) as somebody:
        yield somebody


@pytest.fixture
async def staff(platform: Platform) -> AsyncIterator[Customer]:
    """A member of its staff."""
    async with staff_of(platform) as somebody:
        yield somebody
