"""`backup`: database and broker definitions at one moment, while everything goes on.

Promise: it is one snapshot of PostgreSQL, at a moment in which no event or command is under way: the relays of all
services are held back until the broker has delivered what it has, so that whatever was said is either done or in an
outbox. What waits to be tried again, or does not come to rest in time, is counted, and said. Keys of people, and the
list of who was erased, go into a file of their own.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import asyncpg

from broker import topology
from broker.relay import HOLD
from infra.launcher.at_hand import servers_at_hand
from infra.launcher.failure import Failure
from infra.launcher.kept import DATABASE, DEFINITIONS, Manifest, keys_beside, seal
from infra.launcher.management import Management
from infra.launcher.postgresql_tools import run_tool
from infra.launcher.progress import Progress
from infra.launcher.provision import Servers, vhost_of
from infra.launcher.state import State

APART = ("person_keys", "erasures")
"""Tables whose rows go into the file with the keys."""
CALM_FOR, CALM_WITHIN = 6.0, 20.0
"""Seconds: RabbitMQ gathers its figures every five."""
_NO_WORK = (topology.DEAD_LETTERS, topology.EVENT_HISTORY, topology.MANIFESTS)
_SCHEMAS = r"SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|public$)' ORDER BY nspname"
_TABLES = """
SELECT format('%I.%I', schemaname, tablename) AS name, tablename FROM pg_tables WHERE schemaname = ANY($1) ORDER BY name
"""


def back_up(state: State, progress: Progress, folder: Path) -> int:
    """Make a backup in this folder, or in a new one within it where it exists. Raises `Failure`; what was written by
    then is removed."""
    now = datetime.now(UTC)
    with new_folder(folder, now) as made:
        asyncio.run(_back_up(state, progress, made, now))
    return 0


async def _back_up(state: State, progress: Progress, folder: Path, now: datetime) -> None:
    async with servers_at_hand(state, progress) as servers:
        manifest = await take(servers, progress, folder, now)
    progress.say(f"The backup is {folder}.")
    if manifest.has_keys:
        progress.say(f"The keys of people are {keys_beside(folder)}: keep them elsewhere, and only the newest.")
    if manifest.under_way:
        progress.say(f"{manifest.under_way} messages waited to be delivered or tried again; they are not in it.")


async def take(servers: Servers, progress: Progress, folder: Path, now: datetime) -> Manifest:
    """Write everything into the folder. Raises `Failure`."""
    if servers.rabbitmq_management is None:
        raise Failure("A backup needs RabbitMQ's management API: set HEDGEROW_RABBITMQ_MANAGEMENT_URL.")
    vhost = vhost_of(servers.amqp)
    with Management(servers.rabbitmq_management) as management:
        async with _held_back(servers.database) as database:
            with progress.step("Waiting until no message is under way", "The moment has come"):
                under_way = await _calm(management, vhost)
            await database.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = await database.fetchval("SELECT pg_export_snapshot()")
            await database.execute("SELECT pg_advisory_unlock_all()")
            definitions = await asyncio.to_thread(management.definitions, vhost)
            (folder / DEFINITIONS).write_text(json.dumps(definitions, indent=1))
            schemas = [row["nspname"] for row in await database.fetch(_SCHEMAS)]
            if not schemas:
                raise Failure("There is nothing to back up: the database has no schema of a service.")
            with progress.step("Writing the database", "The database is written"):
                rows, has_keys = await _count(database, schemas)
                await asyncio.to_thread(_dump, servers.database, snapshot, folder, schemas, has_keys=has_keys)
    manifest = Manifest(version("hedgerow"), now.isoformat(), schemas, rows, under_way=under_way, has_keys=has_keys)
    seal(folder, manifest)
    return manifest


@asynccontextmanager
async def _held_back(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that holds the relays back until it lets go."""
    try:
        connection = await asyncpg.connect(url)
        await connection.execute("SELECT pg_advisory_lock($1, $2)", *HOLD)
    except (OSError, asyncpg.PostgresError) as error:
        raise Failure(f"The database can't be used: {error}.") from error
    try:
        yield connection
    finally:
        await connection.close()


async def _calm(management: Management, vhost: str) -> int:
    """Wait until the broker has delivered everything; how many messages it has not."""
    clock = asyncio.get_running_loop().time
    until, since = clock() + CALM_WITHIN, clock()
    while True:
        queues = await asyncio.to_thread(management.messages, vhost)
        under_way = sum(count for name, count in queues.items() if name not in _NO_WORK)
        waiting = sum(count for name, count in queues.items() if name.startswith(topology.tier_queue("")))
        if under_way > waiting:
            since = clock()
        if clock() - since > CALM_FOR or clock() > until:
            return under_way
        await asyncio.sleep(0.5)


async def _count(database: asyncpg.Connection, schemas: list[str]) -> tuple[dict[str, int], bool]:
    tables = await database.fetch(_TABLES, schemas)
    kept = [row["name"] for row in tables if row["tablename"] not in APART]
    counts = {name: await database.fetchval(f"SELECT count(*) FROM {name}") for name in kept}  # noqa: S608
    return counts, len(kept) < len(tables)


def _dump(url: str, snapshot: str, folder: Path, schemas: list[str], *, has_keys: bool) -> None:
    common = [f"--snapshot={snapshot}", "--format=custom", "--no-password"]
    named = [f'--schema="{schema}"' for schema in schemas]
    apart = [f"--exclude-table-data=*.{table}" for table in APART]
    run_tool("pg_dump", url, *common, *named, *apart, f"--file={folder / DATABASE}")
    if has_keys:
        tables = [f"--table=*.{table}" for table in APART]
        keys = keys_beside(folder)
        keys.touch(mode=0o600)
        run_tool("pg_dump", url, *common, "--data-only", *tables, f"--file={keys}")


@contextmanager
def new_folder(folder: Path, now: datetime) -> Iterator[Path]:
    """This folder, or where it exists a new one in it, for its owner only; gone where the block fails."""
    if folder.is_dir():
        folder = folder / f"hedgerow-{now:%Y%m%dT%H%M%SZ}"
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise Failure(f"{folder} is there already, and no folder.") from None
    except OSError as error:
        raise Failure(f"{folder} can't be made: {error.strerror}.") from error
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            keys_beside(folder).unlink()
        raise
