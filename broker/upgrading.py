"""`python -m broker.upgrading`: do what broker.migrate found to be due (it says so on the standard input), and end.

Promise: instances that start together take turns (an advisory lock); what another has done meanwhile is not done again.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from functools import partial
from importlib.resources import files

import asyncpg
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from broker.migrate import PLATFORM, SERVICE_VERSION, VERSION, Schema

_LOCK = 7_305_121_974


async def upgrade_all(schemas: Iterable[Schema]) -> None:
    """Upgrade these one after the other. Raises what the database raises."""
    for schema in schemas:
        await upgrade(*schema)


async def upgrade(database_url: str, migrations: str | None) -> None:
    """Upgrade the schema that the URL's role sees to the newest versions. Raises what the database raises."""
    engine = create_async_engine("postgresql+asyncpg://", async_creator=partial(asyncpg.connect, database_url))
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            await connection.run_sync(_upgrade, PLATFORM, VERSION)
            if migrations is not None:
                await connection.run_sync(_upgrade, migrations, SERVICE_VERSION)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, package: str, version_table: str) -> None:
    script = ScriptDirectory(str(files(package)))

    def due(revision: tuple[str, ...], _: MigrationContext) -> list[object]:
        return script._upgrade_revs("head", revision)  # type: ignore[arg-type, return-value]

    context = MigrationContext.configure(connection, opts={"version_table": version_table, "fn": due})
    with Operations.context(context):
        context.run_migrations()


if __name__ == "__main__":
    asyncio.run(upgrade_all(json.load(sys.stdin)))
