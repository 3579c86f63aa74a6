"""The only place that commits.

Promise: what a handler wrote, what it said (outbox), and the claim of the message it handled (inbox) become true
together or not at all. A transaction that the database broke off (deadlock, serialisation, lost connection) is done
again, because everything it would have done is claimed inside it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from broker import outbox
from broker.outbox import Origin
from broker.reader import DatabaseAwayError as DatabaseAwayError
from broker.reader import Reader
from contracts.base import Command, Event, Said

TRIES = 3
"""How often a transaction is begun that the database breaks off."""
_BROKEN_OFF = {"40001", "40P01", "57P01", "57P02", "57P03"}
Result = TypeVar("Result")
Wake = Callable[[set[int]], None]


class UndeclaredMessageError(TypeError):
    """The service says what it did not declare."""


class Transaction:
    """One unit of work. Handlers use `session`, `emit` and `send`; they never commit."""

    def __init__(self, session: AsyncSession, *, says: frozenset[str], read_only: bool = False) -> None:
        self.session = session
        self.said: list[Said] = []
        self.woken: set[int] = set()
        self.abandoned = False
        self.kept = False
        self._says = says
        self._read_only = read_only

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
    transactions."""

    def __init__(self, url: str, *, service: str, says: frozenset[str], pool: int = 10) -> None:
        self.url = url
        self.wake: Wake = lambda partitions: None
        self.reader = Reader(url, service=service)
        self._service = service
        self._says = says
        self._engine: AsyncEngine = create_async_engine(_asyncpg(url), pool_size=pool, max_overflow=5, pool_timeout=30)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

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
        async with self._sessions() as session:
            await _connect(session)
            yield Transaction(session, says=self._says, read_only=True)

    async def _once(self, origin: Origin, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        async with self._sessions() as session:
            await _connect(session)
            transaction = Transaction(session, says=self._says)
            result = await work(transaction)
            if transaction.abandoned:
                await session.rollback()
                return result
            filled = await outbox.record(session, self._service, transaction.said, origin)
            await session.commit()
        if filled or transaction.woken:
            self.wake(filled | transaction.woken)
        return result


async def _again(attempt: Callable[[], Awaitable[Result]]) -> Result:
    for _ in range(TRIES - 1):
        try:
            return await attempt()
        except (DBAPIError, OSError) as error:
            if not was_broken_off(error):
                raise
    return await attempt()


def was_broken_off(error: BaseException) -> bool:
    """Whether the database ended the transaction for a passing reason of its own."""
    if isinstance(error, DatabaseAwayError | OSError | asyncpg.InterfaceError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _BROKEN_OFF


async def _connect(session: AsyncSession) -> None:
    try:
        await session.connection()
    except Exception as error:
        raise DatabaseAwayError(f"no connection to the database: {error!r}") from error


def _asyncpg(url: str) -> str:
    return "postgresql+asyncpg://" + url.split("://", 1)[1]
