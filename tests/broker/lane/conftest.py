"""Both ends of the request lane, for every carrier there is."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from broker.lane.carriers import CARRIERS
from tests.broker.lane.carriers import Lane
from tests.support.cuts import cuttable
from tests.support.servers import RealServers


@pytest.fixture(params=CARRIERS)
async def lane(request: pytest.FixtureRequest, amqp: str, servers: RealServers) -> AsyncIterator[Lane]:
    """A lane on a virtual host of its own."""
    async with AsyncExitStack() as stack:
        yield Lane(request.param, cuttable(servers, amqp), stack)
