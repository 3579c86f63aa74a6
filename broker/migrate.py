"""Migrations: the platform's tables and the service's own, brought up to date at every start.

Promise: nothing is done when nothing is due; what is due is done by a process of its own, because Alembic would take 10
MB for as long as the service runs. A database that a newer version has upgraded is refused.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from importlib.resources import files

import asyncpg

PLATFORM = "broker.migrations"
VERSION, SERVICE_VERSION = "alembic_version_platform", "alembic_version"
URL = "HEDGEROW_DATABASE_URL"


class MigrationError(Exception):
    """The tables can't be brought to what this version of the service needs; the message is for the operator."""


async def migrate(database_url: str, migrations: str | None) -> None:
    """Upgrade the schema that the URL's role sees to the newest versions. Raises MigrationError, and what the database
    raises."""
    packages = {VERSION: PLATFORM} | ({SERVICE_VERSION: migrations} if migrations is not None else {})
    connection = await asyncpg.connect(database_url)
    try:
        due = [package for table, package in packages.items() if await _is_due(connection, table, package)]
    finally:
        await connection.close()
    if due:
        await _upgrade(database_url, migrations)


async def _upgrade(database_url: str, migrations: str | None) -> None:
    command = (sys.executable, "-m", "broker.upgrading", *([migrations] if migrations is not None else []))
    told = {**os.environ, URL: database_url, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = await asyncio.create_subprocess_exec(*command, env=told)
    if await process.wait():
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
