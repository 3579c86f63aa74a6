"""The migrations make exactly the tables that the code describes, and the database guards the stock by itself."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError

from tests.workers.catalog.shop import Shop
from workers.catalog.tables import CatalogTable, StockRow

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


def difference(connection: Connection) -> Any:
    ours = set(CatalogTable.metadata.tables)
    options = {"include_name": lambda name, kind, _: kind != "table" or name in ours, "compare_type": True}
    return compare_metadata(MigrationContext.configure(connection, opts=options), CatalogTable.metadata)


async def test_tables_and_migrations_agree(shop: Shop) -> None:
    async with shop.session() as session:
        assert await (await session.connection()).run_sync(difference) == []


async def test_the_database_refuses_an_impossible_level(shop: Shop) -> None:
    await shop.sells("A", on_hand=10)
    for wrong in ({"reserved": -1}, {"reserved": 11}, {"on_hand": -1}):
        async with shop.session() as session:
            with pytest.raises(IntegrityError, match="stock_reserved_check"):
                await session.execute(update(StockRow).values(wrong))
            await session.rollback()
