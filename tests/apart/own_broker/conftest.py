"""A platform on a broker that nobody else uses. Its logs are collected, and what its clients want to have traced."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.collector import Collector, collecting
from tests.support.otlp import Receiver, receiving
from tests.support.platform import Platform, on_shared_servers
from tests.support.rabbitmq import OwnRabbitMq, own_rabbitmq
from tests.support.servers import RealServers


@pytest.fixture(scope="package")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRabbitMq]:
    with own_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as node:
        yield node


@pytest.fixture(scope="package")
def on_own_broker(servers: RealServers, own_broker: OwnRabbitMq) -> RealServers:
    """That broker, and the PostgreSQL of all."""
    return replace(servers, amqp=own_broker.amqp, rabbitmq_management=own_broker.management)


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    with collecting() as it:
        yield it


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    with receiving() as it:
        yield it


@pytest.fixture(scope="package")
def platform(
    on_own_broker: RealServers, collector: Collector, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    settings = {
        "HEDGEROW_LOGS_TCP": f"127.0.0.1:{collector.port}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }
    with on_shared_servers(on_own_broker, tmp_path_factory.mktemp("own"), settings=settings) as it:
        yield it
