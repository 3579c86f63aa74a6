"""`python -m broker.erasures list|replay`: who was erased, and erasing them once more in a copy that was restored.

Promise: `list` prints the ids of all whose keys were destroyed, one a line; `replay` reads such ids and destroys the
keys of these people, and of all whom the copy itself names, in every schema at once; done twice, it changes nothing.
The database is that of HEDGEROW_DATABASE_URL; the schemas are those whose `person_keys` its login may change.
"""

import asyncio
import os
import sys
from collections.abc import Iterable
from uuid import UUID

import asyncpg

from broker.secret_files import take_secrets
from broker.vault import erase

_SCHEMAS = """
SELECT relnamespace::regnamespace::text FROM pg_class
WHERE relname = 'person_keys' AND relkind = 'r' AND has_table_privilege(oid, 'DELETE') ORDER BY 1
"""


async def listed(connection: asyncpg.Connection) -> set[UUID]:
    """Who was erased, by what all schemas say."""
    return {
        row["person"]
        for schema in await _schemas(connection)
        for row in await connection.fetch(f"SELECT person FROM {schema}.erasures")  # noqa: S608 - quoted
    }


async def replay(connection: asyncpg.Connection, people: Iterable[UUID] = ()) -> set[UUID]:
    """Erase these people, and those who are listed, in all schemas; returns them all."""
    async with connection.transaction():
        erased = await listed(connection) | set(people)
        for schema in await _schemas(connection):
            await connection.execute(f"SET LOCAL search_path TO {schema}")
            for person in sorted(erased):
                await erase(connection, person)
    return erased


async def _schemas(connection: asyncpg.Connection) -> list[str]:
    return [str(row[0]) for row in await connection.fetch(_SCHEMAS)]


async def _main(command: str) -> None:
    people = {UUID(line) for line in sys.stdin.read().split()} if command == "replay" else set()
    connection = await asyncpg.connect(os.environ["HEDGEROW_DATABASE_URL"])
    try:
        found = await (replay(connection, people) if command == "replay" else listed(connection))
    finally:
        await connection.close()
    for person in sorted(found):
        print(person)


def main() -> None:
    """Run one command; what can go wrong ends in one sentence on the standard error and the exit code 1."""
    take_secrets()
    if sys.argv[1:] not in (["list"], ["replay"]):
        sys.exit("broker.erasures: say `list`, or `replay` with the ids of people on the standard input.")
    if not os.environ.get("HEDGEROW_DATABASE_URL"):
        sys.exit("broker.erasures: set HEDGEROW_DATABASE_URL (or HEDGEROW_DATABASE_URL_FILE) to the restored database.")
    try:
        asyncio.run(_main(sys.argv[1]))
    except (OSError, asyncpg.PostgresError) as error:
        sys.exit(f"broker.erasures: the database can't be used: {error}")
    except ValueError:
        sys.exit("broker.erasures: on the standard input there is something that is no id of a person.")


if __name__ == "__main__":
    main()
