"""One platform for the tests that leave it as they found it. It ends with the last of them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from infra.launcher.failure import Failure
from infra.launcher.prometheus import binaries
from tests.support.collector import Collector, collecting
from tests.support.customer import Customer, customer_of, staff_of
from tests.support.otlp import Receiver, receiving
from tests.support.platform import Platform, on_shared_servers
from tests.support.servers import RealServers


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    """Who gets all log lines of the platform."""
    with collecting() as it:
        yield it


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    """Who gets all its traces."""
    with receiving() as it:
        yield it


@pytest.fixture(scope="package")
def platform(
    servers: RealServers, collector: Collector, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """The platform, monitored where there is a Prometheus for this machine."""
    monitored = ("--with", "monitoring") if has_prometheus() else ()
    settings = {"HEDGEROW_LOGS_TCP": f"127.0.0.1:{collector.port}", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    folder = tmp_path_factory.mktemp("platform")
    with on_shared_servers(servers, folder, *monitored, settings=settings) as it:
        yield it


def has_prometheus() -> bool:
    """Whether one can be had."""
    try:
        return binaries().is_dir()
    except Failure:
        return False


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
