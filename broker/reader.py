"""Hot reads: one statement, one round trip, straight through asyncpg.

Promise: a statement is prepared once a connection and runs in a transaction of its own that can write nothing. A
connection that breaks is replaced, and the statement is asked once more, since asking has no effect. Nobody waits
longer than `PATIENCE` for others to be done, nor than `CONNECT_WITHIN` for a new connection; no more than so many are
open, and none before the first statement.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import asyncpg

from broker import queries
from contracts.base import Page

CONNECTIONS = 4
PATIENCE = 2.0
CONNECT_WITHIN = 5.0
CLOSING = 1.0
"""Seconds that the server has to end a statement that nobody waits for any more."""
_QUESTIONS = ("select", "with", "values", "table")
Reply = TypeVar("Reply")


class DatabaseAwayError(Exception):
    """No connection to the database can be had right now: nothing was tried."""


class _ConnectionLostError(DatabaseAwayError):
    """The connection broke before the rows were here."""


class Json(bytes, Generic[Reply]):
    """A reply that is JSON already: it is sent as it is, and nothing checks that it is a `Reply`."""


def page(items: Iterable[str], next_cursor: str | None) -> Json[Page[Any]]:
    """A page of elements that are JSON already."""
    return Json(f'{{"items":[{",".join(items)}],"next":{json.dumps(next_cursor)}}}'.encode())


class Reader:
    """Asks the service's schema single questions. Two statements may see different states, and nothing is reset between
    them: what a statement does to its session (`set_config`, advisory locks) stays."""

    def __init__(self, url: str, *, service: str, connections: int = CONNECTIONS) -> None:
        self._url = url
        self._settings = {"application_name": f"{service} reader", "default_transaction_read_only": "on"}
        self._places = asyncio.Semaphore(connections)
        self.connections = connections
        self.busy = 0
        """How many of them are at work."""
        self._free: list[asyncpg.Connection] = []
        self._closed = False

    async def fetch(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """The rows of a SELECT with $1, $2, … Raises DatabaseAwayError, PostgresError, and ValueError for what is no
        question or has the wrong values."""
        if not statement.lstrip()[:6].lower().startswith(_QUESTIONS):
            raise ValueError(f"a reader only asks: {statement[:80]!r}")
        await self._take_place()
        self.busy += 1
        try:
            return await self._ask(statement, values)
        except _ConnectionLostError:
            self._drop_free()  # whatever broke this one broke them all
            return await self._ask(statement, values)
        finally:
            self.busy -= 1
            self._places.release()

    async def fetchrow(self, statement: str, *values: object) -> asyncpg.Record | None:
        """The first row. Raises what `fetch` raises."""
        rows = await self.fetch(statement, *values)
        return rows[0] if rows else None

    async def json(self, statement: str, *values: object) -> Json[Any] | None:
        """The first column of the first row: a reply as JSON. Raises what `fetch` raises."""
        rows = await self.fetch(statement, *values)
        return Json(rows[0][0].encode()) if rows else None

    async def close(self) -> None:
        """Close the connections; those at work close when they are done."""
        self._closed = True
        self._drop_free()

    async def _take_place(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE if self._places.locked() else None):
                await self._places.acquire()
        except TimeoutError as error:
            raise DatabaseAwayError(f"all connections have been busy for {PATIENCE} s") from error

    async def _ask(self, statement: str, values: tuple[object, ...]) -> list[asyncpg.Record]:
        connection = await self._connection()
        try:
            rows = await connection.fetch(statement, *values)
        except BaseException as error:
            lost = connection.is_closed()
            # Not given back: a statement that was cut off still runs, and closing is what ends it.
            with contextlib.suppress(Exception):
                await connection.close(timeout=CLOSING)
            if lost:
                raise _ConnectionLostError(f"the connection to the database broke: {error!r}") from error
            if isinstance(error, asyncpg.InterfaceError):
                raise ValueError(str(error)) from error
            raise
        if self._closed:
            connection.terminate()
        else:
            self._free.append(connection)
        return rows

    async def _connection(self) -> asyncpg.Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        try:
            connection = await asyncpg.connect(
                self._url, timeout=CONNECT_WITHIN, server_settings=self._settings, max_cached_statement_lifetime=0
            )
        except Exception as error:
            raise DatabaseAwayError(f"no connection to the database: {error!r}") from error
        queries.listen_to(connection)
        return connection

    def _drop_free(self) -> None:
        while self._free:
            self._free.pop().terminate()
