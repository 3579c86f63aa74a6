"""A shop with nothing in it yet."""

import pytest

from tests.conftest import Start
from tests.workers.catalog.shop import Shop
from workers.catalog.handlers import service


@pytest.fixture
async def shop(running: Start) -> Shop:
    """A running catalog service on a fresh database."""
    return Shop(await running(service))
