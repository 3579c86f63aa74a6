"""Both ends of the request lane, for every carrier there is; and a broker that is not real."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from broker.lane.carriers import CARRIERS
from infra.launcher.management import Management
from infra.launcher.provision import vhost_of
from tests.broker.lane.carriers import Lane
from tests.broker.lane.fake_broker import FakeBroker, fake_broker
from tests.support.cuts import cuttable
from tests.support.servers import RealServers


@pytest.fixture(scope="module")
def cut_now_and_then(servers: RealServers, shared_amqp: str) -> str:
    """Where a module's lanes meet their broker."""
    return cuttable(servers, shared_amqp)


@pytest.fixture(params=CARRIERS)
async def lane(request: pytest.FixtureRequest, cut_now_and_then: str, servers: RealServers) -> AsyncIterator[Lane]:
    """A lane that finds nothing of what others asked."""
    async with AsyncExitStack() as stack:
        yield Lane(request.param, cut_now_and_then, stack)
    with Management(servers.rabbitmq_management) as management:
        for service in ("doomed", "echo", "front"):
            management.drop_queues(vhost_of(cut_now_and_then), prefix=f"{service}.")


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    """A broker that does as it is told."""
    async with fake_broker() as broker:
        yield broker


@pytest.fixture
async def no_complaints() -> AsyncIterator[None]:
    """The loop must not complain: neither of exceptions in callbacks nor of ones that nobody has seen."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    yield
    gc.collect(1)  # what is young: everything would take a while
    assert complaints == []
