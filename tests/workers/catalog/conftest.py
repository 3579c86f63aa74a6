"""A shop with nothing in it yet."""

import pytest_asyncio

from tests.conftest import Start
from tests.support.harness import Harness
from tests.workers.catalog.shop import Shop
from workers.catalog.handlers import service
from workers.catalog.tables import CatalogTable


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_catalog(sharing: Start) -> Harness:
    """A running catalog service."""
    return await sharing(service)


@pytest_asyncio.fixture(loop_scope="module")
async def shop(shared_catalog: Harness) -> Shop:
    """The module's service, whose tables are empty. Commands of an earlier test may still be on their way: who sends
    some needs skus of its own."""
    await shared_catalog.empty(CatalogTable.metadata)
    return Shop(shared_catalog)
