"""Migrations: the platform's tables and the service's own, brought up to date at every start.

Promise: nothing is done when nothing is due; what is due is done by a process of its own, because Alembic would take 10
MB for as long as the service runs. A database that a newer version has upgraded is refused.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files

import asyncpg

PLATFORM = "broker.migrations"
VERSION, SERVICE_VERSION = "alembic_version_platform", "alembic_version"
Schema = tuple[str, str | None]
"""The URL of a database, whose role sees the schema, and the package with the service's migrations."""


class MigrationError(Exception):
    """The tables can't be brought to what this version of the service needs; the message is for the operator."""


async def migrate(database_url: str, migrations: str | None) -> None:
    """Upgrade the schema that the URL's role sees to the newest versions. Raises MigrationError, and what the database
    raises."""
    await migrate_all([(database_url, migrations)])


async def migrate_all(schemas: Iterable[Schema]) -> None:
    """The same for several, by one process for all of them."""
    due = [schema for schema in schemas if await _is_anything_due(*schema)]
    if due:
        await _upgrade(due)


async def _is_anything_due(database_url: str, migrations: str | None) -> bool:
    packages = {VERSION: PLATFORM} | ({SERVICE_VERSION: migrations} if migrations is not None else {})
    connection = await asyncpg.connect(database_url)
    try:
        return any([await _is_due(connection, table, package) for table, package in packages.items()])
    finally:
        await connection.close()


async def _upgrade(due: Sequence[Schema]) -> None:
    told = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = (sys.executable, "-m", "broker.upgrading")
    process = await asyncio.create_subprocess_exec(*command, env=told, stdin=asyncio.subprocess.PIPE)
    await process.communicate(json.dumps(due).encode())
    if process.returncode:
        raise MigrationError("the database could not be upgraded; what Alembic said of it stands above")


async def _is_due(connection: asyncpg.Connection, table: str, package: str) -> bool:
    if await connection.fetchval("SELECT to_regclass($1)", table) is None:
        return True
    there = await connection.fetchval(f"SELECT max(version_num) FROM {table}")  # noqa: S608 - a constant
    known = sorted(_versions(package))
    if there is not None and there not in known:
        raise MigrationError(f"the database is of a version that is not known here ({there}): start a newer release")
    return bool(there != known[-1])


def _versions(package: str) -> Iterator[str]:
    """The versions that the package's files are named by: `0001_users.py`."""
    for file in (files(package) / "versions").iterdir():
        if file.name.endswith(".py") and not file.name.startswith("_"):
            yield file.name.partition("_")[0]
