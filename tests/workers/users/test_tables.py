"""The migrations make exactly the tables that the code describes."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from tests.support.harness import Harness
from workers.users.tables import UsersTable

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


def difference(connection: Connection) -> Any:
    ours = set(UsersTable.metadata.tables)
    options = {"include_name": lambda name, kind, _: kind != "table" or name in ours, "compare_type": True}
    return compare_metadata(MigrationContext.configure(connection, opts=options), UsersTable.metadata)


async def test_tables_and_migrations_agree(users: Harness) -> None:
    async with users.session() as session:
        assert await (await session.connection()).run_sync(difference) == []
