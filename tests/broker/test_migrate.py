"""Migrations: they take turns, they are done once, they say what the tables say, and they can be undone."""

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from importlib.resources import files
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import SQLModel

import broker.migrate
from broker.migrate import PLATFORM, MigrationError, migrate
from broker.tables import PlatformTable

pytestmark = pytest.mark.servers
APART = broker.migrate._upgrade
SERVICES = ("catalog", "orders", "payments", "users")
VERSIONS = {"alembic_version", "alembic_version_platform"}


@pytest.fixture
def upgraded_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where no tests run."""
    monkeypatch.setattr("broker.migrate._upgrade", APART)


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    """A fresh database."""
    engine = create_async_engine("postgresql+asyncpg://" + database.split("://", 1)[1])
    yield engine
    await engine.dispose()


def _metadata(service: str) -> MetaData:
    """The metadata of a service's tables, whatever it calls their base."""
    module = import_module(f"workers.{service}.tables")
    found = {id(it.metadata): it.metadata for it in vars(module).values() if _is_table_base(it, module)}
    (metadata,) = found.values()
    assert isinstance(metadata, MetaData)
    return metadata


def _is_table_base(thing: Any, module: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, SQLModel) and thing.__module__ == module.__name__


def _differences(connection: Connection, metadata: MetaData, others: set[str]) -> list[Any]:
    def ours(name: str | None, kind: str, _: Any) -> bool:
        return kind != "table" or name not in others

    opts = {"compare_type": True, "include_name": ours}
    return list(compare_metadata(MigrationContext.configure(connection, opts=opts), metadata))


def _tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


@pytest.mark.usefixtures("upgraded_apart")
async def test_instances_that_start_together_take_turns(database: str, engine: AsyncEngine) -> None:
    await asyncio.gather(*(migrate(database, "workers.catalog.migrations") for _ in range(4)))
    async with engine.connect() as connection:
        assert await connection.run_sync(_tables) >= {"outbox", "inbox", "products", *VERSIONS}


@pytest.mark.usefixtures("upgraded_apart")
async def test_nothing_is_done_when_nothing_is_due(database: str, engine: AsyncEngine) -> None:
    await migrate(database, "workers.catalog.migrations")
    async with engine.connect() as connection:
        before = (await connection.exec_driver_sql("SELECT max(oid::bigint) FROM pg_class")).scalar_one()
    await migrate(database, "workers.catalog.migrations")
    async with engine.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT max(oid::bigint) FROM pg_class")).scalar_one() == before


@pytest.mark.parametrize("table", ["alembic_version_platform", "alembic_version"])
async def test_a_database_that_is_newer_than_the_code_is_refused(
    database: str, engine: AsyncEngine, table: str
) -> None:
    await migrate(database, "workers.catalog.migrations")
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE {table} SET version_num = '9999'")
    with pytest.raises(MigrationError, match=r"not known here \(9999\): start a newer release"):
        await migrate(database, "workers.catalog.migrations")


@pytest.mark.usefixtures("upgraded_apart")
async def test_a_migration_that_fails_is_said_to(database: str, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE products (in_the_way text)")
    with pytest.raises(MigrationError, match="could not be upgraded"):
        await migrate(database, "workers.catalog.migrations")


async def test_the_platforms_migrations_make_the_platforms_tables(database: str, engine: AsyncEngine) -> None:
    await migrate(database, None)
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences, PlatformTable.metadata, VERSIONS) == []


@pytest.mark.parametrize("service", SERVICES)
async def test_a_services_migrations_make_the_services_tables(database: str, engine: AsyncEngine, service: str) -> None:
    await migrate(database, f"workers.{service}.migrations")
    others = VERSIONS | set(PlatformTable.metadata.tables)
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences, _metadata(service), others) == []


@pytest.mark.parametrize("service", [None, *SERVICES])
async def test_migrations_can_be_undone_and_done_again(database: str, engine: AsyncEngine, service: str | None) -> None:
    package = None if service is None else f"workers.{service}.migrations"
    await migrate(database, package)
    async with engine.begin() as connection:
        before = await connection.run_sync(_tables)
        if package is not None:
            await connection.run_sync(_undo, package, "alembic_version")
            assert await connection.run_sync(_tables) == VERSIONS | set(PlatformTable.metadata.tables)
        await connection.run_sync(_undo, PLATFORM, "alembic_version_platform")
        assert await connection.run_sync(_tables) <= VERSIONS
    await migrate(database, package)
    async with engine.connect() as connection:
        assert await connection.run_sync(_tables) == before


def _undo(connection: Connection, package: str, version_table: str) -> None:
    script = ScriptDirectory(str(files(package)))

    def due(revision: tuple[str, ...], _: MigrationContext) -> list[Any]:
        return list(script._downgrade_revs("base", revision))  # type: ignore[arg-type]

    context = MigrationContext.configure(connection, opts={"version_table": version_table, "fn": due})
    with Operations.context(context):
        context.run_migrations()
