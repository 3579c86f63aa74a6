"""Databases, roles and schemas of PostgreSQL: whoever owns one schema can neither see nor touch another."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from infra.launcher.failure import Failure

T = TypeVar("T")


def make_schema(administrator: str, *, role: str, password: str, schema: str) -> None:
    """A role that may log in, and the one schema it owns and works in; an existing role gets the password."""
    _finish(_make_schema(administrator, role, password, schema))


def retire_role(administrator: str, *, role: str, schema: str, drop_data: bool) -> bool:
    """Nobody logs in as the role that owns this schema any more, and whoever has is put out. The schema stays, unless
    its data are dropped. Answers whether there was something to do; a role without such a schema is somebody else's."""
    return _finish(_retire_role(administrator, role, schema, drop_data))


def make_database(administrator: str, name: str, *, template: str = "template1") -> str:
    """Make a database, as a copy of the template, unless it exists; answers its address for the administrator."""
    _finish(_make_database(administrator, name, template))
    return urlunsplit(urlsplit(administrator)._replace(path=f"/{name}"))


def drop_database(administrator: str, name: str) -> None:
    """Remove a database, whoever is connected to it, and the roles that were made for it."""
    _finish(_drop_database(administrator, name))


async def _make_schema(administrator: str, role: str, password: str, schema: str) -> None:
    connection = await _connect(administrator)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('hedgerow.provision'))")
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                await _format(connection, "CREATE ROLE %I", role)
            await _format(connection, "ALTER ROLE %I LOGIN PASSWORD %L", role, password)
            await _format(connection, "GRANT %I TO CURRENT_USER", role)
            await _format(connection, "CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I", schema, role)
            await _format(connection, "ALTER ROLE %I IN DATABASE %I SET search_path = %I", role, None, schema)
            await _format(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", None)
            await _format(connection, "GRANT CONNECT ON DATABASE %I TO %I", None, role)
            await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    finally:
        await connection.close()


async def _retire_role(administrator: str, role: str, schema: str, drop_data: bool) -> bool:
    owners = "SELECT rolcanlogin FROM pg_roles r JOIN pg_namespace n ON n.nspowner = r.oid"
    connection = await _connect(administrator)
    try:
        can_log_in = await connection.fetchval(f"{owners} WHERE rolname = $1 AND nspname = $2", role, schema)
        if can_log_in is None:
            return False
        await _format(connection, "ALTER ROLE %I NOLOGIN PASSWORD NULL", role)
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
        if drop_data:
            async with connection.transaction():
                await _format(connection, "DROP SCHEMA %I CASCADE", schema)
                await _format(connection, "REVOKE ALL ON DATABASE %I FROM %I", None, role)
                await _format(connection, "DROP ROLE %I", role)
        return bool(can_log_in) or drop_data
    finally:
        await connection.close()


async def _format(connection: "asyncpg.Connection[asyncpg.Record]", statement: str, *names: str | None) -> None:
    """Run a statement that can't take parameters: PostgreSQL quotes the names; None is the current database."""
    quoting = (
        "SELECT format($1, VARIADIC ARRAY(SELECT coalesce(name, current_database()) FROM unnest($2::text[]) name))"
    )
    await connection.execute(await connection.fetchval(quoting, statement, names))


async def _make_database(administrator: str, name: str, template: str) -> None:
    connection = await _connect(administrator)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            # What is as small as a template is copied in a third of the time as files.
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    finally:
        await connection.close()


async def _drop_database(administrator: str, name: str) -> None:
    connection = await _connect(administrator)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        for role in await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE '%@' || $1", name):
            await _format(connection, "DROP ROLE IF EXISTS %I", role["rolname"])
    finally:
        await connection.close()


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        try:
            return await asyncpg.connect(url)
        except asyncpg.CannotConnectNowError:
            await asyncio.sleep(0.05)
        except (OSError, asyncpg.PostgresError) as error:
            raise Failure(f"PostgreSQL can't be used at {urlsplit(url).netloc.rpartition('@')[2]}: {error}.") from error
        if asyncio.get_running_loop().time() > deadline:
            raise Failure("PostgreSQL did not become ready within 30 s.")


def _finish(work: Coroutine[Any, Any, T]) -> T:
    """Run asynchronous work to its end, also where a loop runs already (a test): in a thread with a loop of its own.
    Raises `Failure` where the administrator is none."""
    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(asyncio.run, work).result()
        except asyncpg.InsufficientPrivilegeError as error:
            needed = "it needs CREATEROLE, and the database for its own"
            raise Failure(f"PostgreSQL's login may not make roles and schemas ({error.args[0]}): {needed}.") from error
