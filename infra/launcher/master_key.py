"""The master key of this machine: a file for its owner, made once, that holds two keys while they change.

Promise: a key is forgotten only when it wraps no key of a person any more. Whoever loses the file loses all personal
data; a backup needs the key that was there when it was made (docs/operations.md).
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from broker.master_keys import MasterKeyError, MasterKeys, name_of, new_master_key
from infra.launcher.failure import Failure
from infra.launcher.lock import running_launcher
from infra.launcher.progress import Progress
from infra.launcher.state import State

PUBLISHED_WITHIN_SECONDS = 10.0
"""Twice as long as it takes every instance to read the file again."""
WRAPPED_WITHIN_SECONDS = 600.0
SETTING = "HEDGEROW_MASTER_KEY_FILE"
_FILE = "master-key"
_SCHEMAS = """
SELECT relnamespace::regnamespace::text FROM pg_class
WHERE relname = 'person_keys' AND relkind = 'r' AND has_table_privilege(oid, 'SELECT')
"""


def master_key(state: State) -> Path:
    """The file (mode 0600): the operator's, or one that is made here. Raises `Failure` where it holds no keys."""
    place = Path(os.environ.get(SETTING) or state.folder / _FILE)
    with state.locked():
        if place == state.folder / _FILE and not place.exists():
            state.write_text(_FILE, f"{new_master_key()}\n")
    _keys(place)
    return place


def rotate_master_key(state: State, progress: Progress) -> int:
    """Have a new key wrap the keys of people, and forget the others. Raises `Failure`."""
    if os.environ.get(SETTING):
        raise Failure(f"{SETTING} names a file of yours: docs/operations.md says how its key is changed.")
    database = state.read("runtime.json").get("database")
    if running_launcher(state) is None or not database:
        raise Failure("The keys of people are wrapped anew by the platform: start it first (./justw up).")
    with progress.step("Publishing a new master key", "The new master key has wrapped the keys of all people"):
        asyncio.run(rotate(state, str(database), lambda: asyncio.sleep(PUBLISHED_WITHIN_SECONDS)))
    progress.say("The old one is forgotten here: keep it with the backups that were made under it.")
    return 0


async def rotate(state: State, database: str, published: Callable[[], Awaitable[object]]) -> None:
    """Add a key, have it wrap once every instance has it, and forget the others once it has wrapped everything. Raises
    `Failure`, and keeps them."""
    new, old = new_master_key(), _keys(master_key(state))
    for keys in ([*old, new], [new, *old]):
        _write(state, keys)
        await published()
    await _all_wrapped(database, new)
    _write(state, [new])


async def _all_wrapped(database: str, key: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        deadline = time.monotonic() + WRAPPED_WITHIN_SECONDS
        while await foreign(connection, key):
            if time.monotonic() > deadline:
                raise Failure(
                    "Some keys of people are still wrapped by the old master key, so it stays; look at the logs."
                )
            await asyncio.sleep(1)
    finally:
        await connection.close()


async def foreign(connection: asyncpg.Connection, key: str) -> int:
    """How many keys of people another master key wrapped, in all schemas that this login may read."""
    name, found = name_of(key), 0
    for (schema,) in await connection.fetch(_SCHEMAS):
        count = f"SELECT count(*) FROM {schema}.person_keys WHERE substring(wrapped for $2) <> $1"  # noqa: S608 - quoted
        found += await connection.fetchval(count, name, len(name))
    return found


def _keys(place: Path) -> list[str]:
    try:
        MasterKeys.of({SETTING: str(place)})
    except MasterKeyError as error:
        raise Failure(str(error)) from None
    return place.read_text().split()


def _write(state: State, keys: list[str]) -> None:
    with state.locked():
        state.write_text(_FILE, "".join(f"{key}\n" for key in keys))
