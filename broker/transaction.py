"""The only place that commits.

Promise: what a handler wrote, what it said (outbox), and the claim of the message it handled (inbox) become true
together or not at all. A transaction that the database broke off (deadlock, serialisation, lost connection) is done
again, because everything it would have done is claimed inside it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import QueuePool

from broker import outbox, queries
from broker.outbox import Origin
from broker.reader import DatabaseAwayError as DatabaseAwayError
from broker.reader import Reader
from broker.vault import People, PersonKey, Vault
from contracts.base import Command, Event, Said

TRIES = 3
"""How often a transaction is begun that the database breaks off."""
_BROKEN_OFF = {"40001", "40P01", "57P01", "57P02", "57P03"}
Result = TypeVar("Result")
Wake = Callable[[set[int]], None]


class UndeclaredMessageError(TypeError):
    """The service says what it did not declare."""


class RolledBackError(Exception):
    """A statement failed, somebody went on as if it had not, and the database took nothing of the transaction."""


class Transaction:
    """One unit of work. Handlers use `session`, `emit` and `send`; they never commit.

    `connection` is asyncpg's own, for statements that run with every message: SQLAlchemy costs several times as much.
    What the session has not flushed yet, it does not see; JSON goes in as text.
    """

    def __init__(
        self,
        bind: AsyncConnection,
        connection: asyncpg.Connection,
        *,
        says: frozenset[str],
        read_only: bool = False,
        vault: Vault | None = None,
    ) -> None:
        self.connection = connection
        self.said: list[Said] = []
        self.woken: set[int] = set()
        self.abandoned = False
        self.kept = False
        self._bind = bind
        self._session: AsyncSession | None = None
        self._says = says
        self._read_only = read_only
        self._people = None if vault is None else People(vault, connection)

    @property
    def people(self) -> People:
        """The keys of people. Raises TypeError where the service provides no Vault."""
        if self._people is None:
            raise TypeError("a service that keeps personal data must provide a Vault")
        return self._people

    @property
    def seen(self) -> dict[UUID, PersonKey]:
        """The keys of those whose data this transaction may have seen."""
        return {} if self._people is None else self._people.seen

    @property
    def session(self) -> AsyncSession:
        """SQLAlchemy's session within this transaction; it has none of its own to commit."""
        if self._session is None:
            self._session = AsyncSession(self._bind, expire_on_commit=False)
        return self._session

    @property
    def has_session(self) -> bool:
        """Whether anybody asked for one."""
        return self._session is not None

    def emit(self, event: Event) -> None:
        """Tell a fact, once this transaction is committed."""
        self.say(event)

    def send(self, command: Command) -> None:
        """Ask another service to do something, once this transaction is committed."""
        self.say(command)

    def say(self, *messages: Said) -> None:
        """Say what a pure decision returned, in its order. Raises TypeError for what the service does not declare."""
        if self._read_only and messages:
            raise TypeError(f"a query can't say {messages[0].topic}")
        for message in messages:
            if message.topic not in self._says:
                raise UndeclaredMessageError(f"{type(message).__name__} must be listed in the service's `says`")
        self.said.extend(messages)

    def keep(self) -> None:
        """Let what was written become true although the answer will be a refusal."""
        self.kept = True

    def abandon(self) -> None:
        """Let nothing of this transaction become true."""
        self.abandoned = True


class Database:
    """A service's schema. `wake` is called with the outbox partitions that a commit filled; `reader` asks beside all
    transactions; `vault` has the keys of the people whose data is in it, if any is."""

    def __init__(
        self, url: str, *, service: str, says: frozenset[str], pool: int = 10, vault: Vault | None = None
    ) -> None:
        self.url = url
        self.vault = vault
        self.wake: Wake = lambda partitions: None
        self.reader = Reader(url, service=service)
        self._service = service
        self._says = says
        # AUTOCOMMIT: SQLAlchemy begins nothing by itself, what it does belongs to the transaction begun here.
        self._engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=partial(asyncpg.connect, url),  # its own parameters know nothing of sslmode
            isolation_level="AUTOCOMMIT",
            pool_size=pool,
            pool_reset_on_return=None,
        )
        self._places = asyncio.Semaphore(pool)  # SQLAlchemy's own queue lets newcomers overtake who waits
        event.listen(self._engine.sync_engine, "checkout", _must_be_usable)
        queries.listen_to_engine(self._engine.sync_engine)

    @property
    def pools(self) -> dict[str, tuple[int, int]]:
        """How many connections are in use, and how many may be, by what they are for."""
        pool = cast(QueuePool, self._engine.pool)
        return {"transactions": (pool.checkedout(), pool.size()), "reads": (self.reader.busy, self.reader.connections)}

    async def close(self) -> None:
        """Close all connections."""
        await self.reader.close()
        await self._engine.dispose()

    async def transact(self, origin: Origin, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Do the work in a transaction, again if the database broke it off. Raises DatabaseAwayError, and what the work
        raises."""
        return await _again(lambda: self._once(origin, work))

    async def read(self, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Look in a transaction that leaves nothing behind, again if the database broke it off."""

        async def look() -> Result:
            async with self.reading() as transaction:
                return await work(transaction)

        return await _again(look)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """A transaction that leaves nothing behind."""
        async with self._begun(read_only=True) as transaction:
            yield transaction

    async def _once(self, origin: Origin, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        async with self._begun() as transaction:
            result = await work(transaction)
            if transaction.abandoned:
                return result
            if transaction.has_session:
                await transaction.session.flush()
            filled = await outbox.record(transaction.connection, self._service, transaction.said, origin)
            if await transaction.connection.execute("COMMIT") != "COMMIT":
                raise RolledBackError
        if filled or transaction.woken:
            self.wake(filled | transaction.woken)
        return result

    @asynccontextmanager
    async def _begun(self, *, read_only: bool = False) -> AsyncIterator[Transaction]:
        async with self._places:
            bind, connection = await _begin(self._engine)
            transaction = Transaction(bind, connection, says=self._says, read_only=read_only, vault=self.vault)
            try:
                yield transaction
            finally:
                try:
                    await _end(transaction)
                finally:
                    await bind.close()


async def _begin(engine: AsyncEngine) -> tuple[AsyncConnection, asyncpg.Connection]:
    """A connection with an open transaction; those whose end was not noticed yet are replaced. Raises
    DatabaseAwayError."""
    while True:
        try:
            bind = await engine.connect()
        except Exception as error:
            raise DatabaseAwayError(f"no connection to the database: {error!r}") from error
        connection = cast(asyncpg.Connection, (await bind.get_raw_connection()).driver_connection)
        try:
            await connection.execute("BEGIN")
            return bind, connection
        except BaseException as error:
            connection.terminate()
            await bind.close()
            if not was_broken_off(error):
                raise


async def _end(transaction: Transaction) -> None:
    """Leave nothing behind but what was committed."""
    connection = transaction.connection
    try:
        if transaction.has_session:
            await transaction.session.close()
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute("ROLLBACK")
    except BaseException:
        connection.terminate()
        raise


async def _again(attempt: Callable[[], Awaitable[Result]]) -> Result:
    for _ in range(TRIES - 1):
        try:
            return await attempt()
        except Exception as error:
            if isinstance(error, DatabaseAwayError) or not was_broken_off(error):
                raise
    return await attempt()


def was_broken_off(error: BaseException) -> bool:
    """Whether the database ended the transaction for a passing reason of its own."""
    # An InternalClientError: the server has said that it closes the connection, and has not closed it yet.
    if isinstance(error, DatabaseAwayError | OSError | asyncpg.PostgresConnectionError | asyncpg.InternalClientError):
        return True
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)  # that is what a wrong parameter raises
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return getattr(getattr(error, "orig", error), "sqlstate", None) in _BROKEN_OFF


def _must_be_usable(connection: Any, *_: object) -> None:
    """A pooled connection that broke, or whose last transaction did not end, is replaced."""
    driver: asyncpg.Connection = connection.driver_connection
    if driver.is_closed() or driver.is_in_transaction():
        raise DisconnectionError
