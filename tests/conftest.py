"""Fixtures: real servers once a run; a virtual host and a database for every test that asks, or for every module."""

import functools
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import httpx
import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling

from broker import topology
from broker.service import Service
from broker.upgrading import upgrade_all
from tests.support.harness import Harness, under_test
from tests.support.servers import RealServers
from tests.support.servers import servers as real_servers

TESTS = Path(__file__).parent
QUICK_TIERS = {"1s": 0.1, "10s": 0.15, "1m": 0.2, "10m": 0.25}
"""Retry tiers that a test can wait for."""


def pytest_configure() -> None:
    """What a shell starts in the background ignores SIGINT, and so would the processes that tests interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What structlog would draw of an exception costs a third of a second.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
    # How fast an example is says how busy the machine is.
    settings.register_profile("whenever", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("whenever")
    # Hypothesis writes its tables of characters there, and workers that do so at once take them from each other.
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        set_hypothesis_home_dir(Path(".hypothesis") / worker)


def pytest_collection() -> None:
    """Collecting makes a million objects that stay: looking at them again and again takes a third of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """And so does looking at them later."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest starts first, and platforms start one after the other: each takes both cores for a while."""
    for item in items:
        if {"system", "apart"} & set(item.path.relative_to(TESTS).parts):
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.servers)
    kinds: dict[tuple[float, float], list[Path]] = {}
    for item in items:
        units = kinds.setdefault(_span(item), [])
        if _unit(item.path) not in units[-1:]:
            units.append(_unit(item.path))
    starts: dict[Path, float] = {}
    for (first, last), units in kinds.items():
        for number, unit in enumerate(units):
            starts.setdefault(unit, first + (last - first) * number / len(units))
    items.sort(key=lambda item: starts[_unit(item.path)])


def _unit(file: Path) -> Path:
    """What one worker does in one go: a file, or the files of a folder that share a platform, which is started once."""
    return file.parent if file.parent.name in {"system", "own_broker"} else file


def _span(item: pytest.Item) -> tuple[float, float]:
    """Between which moments the units of its kind start, in fractions of the run."""
    if item.path.parent.name == "system":
        return (-1, -1)
    if item.get_closest_marker("system"):
        return (-0.1, 0.5)
    if item.get_closest_marker("servers"):
        return (0, 0.9)
    # Some of what needs no servers goes on while they start, which takes a while where they must be fetched first.
    return (-0.05, -0.05) if item.path.parent.name == "edge_api" else (1, 1)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """(`--dist loadgroup` would not do: with pytest 9.2, pytest-xdist 3.8 ignores the groups.)"""
    return _ByUnit(config, log)


class _ByUnit(LoadFileScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return str(_unit(Path(super()._split_scope(nodeid))))


@pytest.fixture(autouse=True, scope="session")
def upgraded_here() -> Iterator[None]:
    """Hundreds of fresh databases are upgraded without a process for each (tests/broker/test_migrate.py has them)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("broker.migrate._upgrade", upgrade_all)
        yield


@pytest.fixture(autouse=True, scope="session")
def authorities_read_once() -> Iterator[None]:
    """A thousand clients are made, and reading whom to trust takes each of them longer than its requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", functools.cache(httpx.create_ssl_context))
        yield


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
    async with _starting(amqp, database) as start:
        yield start


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
async def sharing(shared_amqp: str, shared_database: str) -> AsyncIterator[Start]:
    """Start a service for the tests of one module; whoever starts it sees to it that they don't meet."""
    async with _starting(shared_amqp, shared_database) as start:
        yield start


@asynccontextmanager
async def _starting(amqp: str, database: str) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(service: Service, *, with_database: bool = True) -> Harness:
            url = database if with_database else None
            return await stack.enter_async_context(under_test(service, amqp=amqp, database=url))

        yield start
