"""`restore`: everything as it was when a backup was made.

Promise: a backup that is damaged, or newer than this version, changes nothing; nor is anything changed beneath a
platform that runs. The database is made beside the old one, checked, and only then takes its name; the old one is kept
under another. Whoever was erased since stays erased. The broker's queues are emptied, since they hold what was said
after the backup: what was said before it lies in the outboxes, and is sent at the next start.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from broker.erasures import listed, replay
from infra.launcher.at_hand import servers_at_hand
from infra.launcher.failure import Failure
from infra.launcher.kept import DATABASE, DEFINITIONS, Kept, look_into
from infra.launcher.management import Management
from infra.launcher.postgresql_tools import run_tool
from infra.launcher.progress import Progress
from infra.launcher.provision import Servers, role_for, vhost_of
from infra.launcher.schemas import drop_database, make_database, make_schema
from infra.launcher.state import State
from infra.launcher.status import runtime

_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def restore(state: State, progress: Progress, folder: Path, keys: Path | None) -> int:
    """Put a backup in the place of what is there. Raises `Failure`."""
    kept = look_into(folder.absolute(), keys and keys.absolute(), version=version("hedgerow"))
    if state.read("runtime.json") and runtime(state).get("processes"):
        raise Failure("A platform is running here; stop it with ./justw down, then restore.")
    asyncio.run(_restore(state, progress, kept))
    return 0


async def _restore(state: State, progress: Progress, kept: Kept) -> None:
    async with servers_at_hand(state, progress) as servers:
        before = await put_back(servers, progress, kept, lambda role: state.secret(f"postgresql.{role}"))
    progress.say(f"Everything is as it was at {kept.manifest.taken_at}; ./justw up starts it.")
    progress.say(f"The database as it was until now is kept as {before}: remove it when you are sure.")
    if kept.manifest.under_way:
        progress.say(f"{kept.manifest.under_way} messages were under way at that moment, and are lost.")


async def put_back(servers: Servers, progress: Progress, kept: Kept, password: Callable[[str], str]) -> str:
    """Restore database and broker; the name of the database as it was until now. Raises `Failure`."""
    if servers.rabbitmq_management is None:
        raise Failure("A restore empties the broker's queues: set HEDGEROW_RABBITMQ_MANAGEMENT_URL.")
    name = urlsplit(servers.database).path.lstrip("/")
    erased = await _erasures(servers.database)
    draft = f"{name}_restoring"
    with progress.step("Reading the database", "The database is as in the backup"):
        await asyncio.to_thread(drop_database, servers.database, draft)
        url = await asyncio.to_thread(make_database, servers.database, draft)
        for schema in kept.manifest.schemas:
            role = role_for(servers.database, schema)
            await asyncio.to_thread(make_schema, url, role=role, password=password(role), schema=schema)
            await asyncio.to_thread(_read, url, role, schema, kept)
        await _check(url, kept)
        await _erase_again(url, erased)
    before = f"{name}_before_{datetime.now(UTC):%Y%m%dt%H%M%S}"
    await _swap(servers.database, name, draft, before)
    with (
        progress.step("Emptying the queues", "The broker is as in the backup"),
        Management(servers.rabbitmq_management) as management,
    ):
        definitions = json.loads((kept.folder / DEFINITIONS).read_text())
        await asyncio.to_thread(management.define_anew, vhost_of(servers.amqp), definitions)
    return before


async def _erasures(url: str) -> set[UUID]:
    """Of the database that is about to be replaced, where nobody else may be at work."""
    connection = await _connect(url)
    try:
        if others := await connection.fetchval(_OTHERS):
            raise Failure(f"{others} sessions are open in the database; stop the services, then restore.")
        return await listed(connection)
    finally:
        await connection.close()


def _read(url: str, role: str, schema: str, kept: Kept) -> None:
    common = ["--no-owner", "--no-privileges", f"--role={role}", f"--schema={schema}", "--single-transaction"]
    database = urlsplit(url).path.lstrip("/")
    run_tool("pg_restore", url, *common, f"--dbname={database}", str(kept.folder / DATABASE))
    if kept.manifest.has_keys:
        run_tool("pg_restore", url, *common, "--data-only", f"--dbname={database}", str(kept.keys))


async def _check(url: str, kept: Kept) -> None:
    connection = await _connect(url)
    try:
        for table, rows in kept.manifest.rows.items():
            if await connection.fetchval(f"SELECT count(*) FROM {table}") != rows:  # noqa: S608
                raise Failure(
                    f"{kept.folder} is damaged: {table} has not the {rows} rows that it had. Nothing was changed."
                )
    finally:
        await connection.close()


async def _erase_again(url: str, erased: set[UUID]) -> None:
    """What the keys' backup still has of somebody who was erased, before it was made or after it, goes."""
    connection = await _connect(url)
    try:
        await replay(connection, erased)
    finally:
        await connection.close()


async def _swap(url: str, name: str, draft: str, before: str) -> None:
    connection = await _connect(urlunsplit(urlsplit(url)._replace(path="/postgres")))
    try:
        await connection.execute(f'ALTER DATABASE "{name}" RENAME TO "{before}"')
        await connection.execute(f'ALTER DATABASE "{draft}" RENAME TO "{name}"')
    except asyncpg.PostgresError as error:
        raise Failure(f"The restored database can't take its place: {error}.") from error
    finally:
        await connection.close()


async def _connect(url: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(url)
    except (OSError, asyncpg.PostgresError) as error:
        raise Failure(f"The database can't be used: {error}.") from error
