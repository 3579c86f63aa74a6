"""A service that writes down what it hears and is told, for tests of how durable messages arrive."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from broker import topology
from broker.injection import Attempt
from broker.service import Service
from broker.transaction import Transaction
from contracts.base import Command, Event, Said
from tests.support.eventually import eventually
from tests.support.harness import Harness


class Opened(Event):
    """Said by the tests."""

    topic: ClassVar[str] = "tests.opened.v1"
    subject: ClassVar[str] = "account"
    account: str
    number: int = 0


class Grown(Event):
    """Said by the tests, about the same accounts."""

    topic: ClassVar[str] = "tests.grown.v1"
    subject: ClassVar[str] = "account"
    account: str
    number: int = 0


class Closed(Event):
    """Said by the tests about the same accounts; the diary does not listen."""

    topic: ClassVar[str] = "tests.closed.v1"
    subject: ClassVar[str] = "account"
    account: str
    number: int = 0


class Write(Command):
    """Write this down."""

    topic: ClassVar[str] = "diary.write.v1"
    subject: ClassVar[str] = "account"
    account: str
    number: int = 0


class Written(Event):
    """Said by the diary."""

    topic: ClassVar[str] = "diary.written.v1"
    subject: ClassVar[str] = "account"
    account: str
    number: int = 0


Behaviour = Callable[[Any, Attempt], Awaitable[None]]

OPENED = topology.work_queue("diary", Opened.topic)
GROWN = topology.work_queue("diary", Grown.topic)
WRITE = topology.work_queue("diary", Write.topic)


async def nothing_special(_: Said, __: Attempt) -> None:
    """How a handler behaves that works."""


def diary(behave: Behaviour = nothing_special, *, ordered: bool = True, grown: bool = True) -> Service:
    """The service; `behave` runs in each handler after the effect, before the commit."""
    service = Service("diary", says=(Written,))

    @service.at_start
    async def make_the_table(tx: Transaction) -> None:
        await tx.session.execute(text("SELECT pg_advisory_xact_lock(1)"))
        table = "CREATE TABLE IF NOT EXISTS diary (id bigserial, account text, number int, attempt int)"
        await tx.session.execute(text(table))

    async def write_down(said: Any, tx: Transaction, attempt: Attempt) -> None:
        row = {"account": said.account, "number": said.number, "attempt": attempt}
        await tx.session.execute(text("INSERT INTO diary VALUES (DEFAULT, :account, :number, :attempt)"), row)
        tx.emit(Written(account=said.account, number=said.number))
        await behave(said, attempt)

    service.hears(Opened, ordered=ordered)(write_down)
    if grown:
        service.hears(Grown, ordered=ordered)(write_down)
    service.does(Write)(write_down)
    return service


async def written(session: AsyncSession, account: str | None = None) -> list[tuple[str, int]]:
    """What was written down so far, in the order of the effects."""
    rows = (await session.execute(text("SELECT account, number FROM diary ORDER BY id"))).all()
    return [(row.account, row.number) for row in rows if account in (None, row.account)]


async def attempts(bench: Harness) -> list[int]:
    """The number of the attempt of each effect."""
    async with bench.session() as session:
        return list((await session.execute(text("SELECT attempt FROM diary ORDER BY id"))).scalars())


async def numbers(bench: Harness, account: str) -> list[int]:
    """The numbers written down for an account, in order."""
    async with bench.session() as session:
        return [number for _, number in await written(session, account)]


async def has_written(bench: Harness, account: str, *expected: int, within: float = 10) -> None:
    """Wait until exactly these numbers are written down for the account, in this order."""

    async def check() -> bool:
        found = await numbers(bench, account)
        assert found == list(expected)
        return True

    await eventually(check, within=within)


async def rows(bench: Harness, table: str) -> int:
    """How many rows there are in a table."""
    async with bench.session() as session:
        return int((await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def has_rows(bench: Harness, table: str, expected: int, *, within: float = 10) -> None:
    """Wait until there are so many rows in a table."""

    async def check() -> bool:
        found = await rows(bench, table)
        assert found == expected, f"{found} rows in {table}"
        return True

    await eventually(check, within=within)


async def dead_letter(bench: Harness, *, within: float = 10) -> AbstractIncomingMessage:
    """Take the next dead letter."""
    return await take(bench, topology.DEAD_LETTERS, within=within)


async def take(bench: Harness, queue: str, *, within: float = 10) -> AbstractIncomingMessage:
    """Take the next message of a queue that nobody consumes."""
    assert bench.link.connection is not None
    async with bench.link.connection.channel() as channel:
        source = await channel.get_queue(queue, ensure=False)

        async def look() -> AbstractIncomingMessage | None:
            return await source.get(no_ack=True, fail=False)

        found = await eventually(look, within=within)
        assert found is not None
        return found


async def waiting(bench: Harness, queue: str) -> int:
    """How many messages are ready in a queue."""
    assert bench.link.connection is not None
    async with bench.link.connection.channel() as channel:
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


async def put(bench: Harness, exchange: str, key: str, body: bytes, headers: dict[str, Any] | None = None) -> None:
    """Publish as a stranger would: whatever it is, as it is."""
    assert bench.link.connection is not None
    async with bench.link.connection.channel() as channel:
        target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(body, headers=headers or {}), key)


def count(counter: Counter, *labels: str) -> float:
    """What a counter says."""
    return float(counter.labels(*labels)._value.get())


class Gate:
    """A place where handlers wait until the test lets them go; `reached` counts who came."""

    def __init__(self) -> None:
        self.reached: list[int] = []
        self._open = asyncio.Event()

    def open(self) -> None:
        """Let everybody go, now and later."""
        self._open.set()

    async def wait(self, number: int) -> None:
        """Come and wait."""
        self.reached.append(number)
        await self._open.wait()

    async def has_seen(self, number: int, *, within: float = 10) -> None:
        """Wait until somebody with this number has come."""

        async def check() -> bool:
            return number in self.reached

        await eventually(check, within=within)


@asynccontextmanager
async def probed(bench: Harness) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A second, known message: whatever was published before it has been seen by then."""

    async def probe() -> None:
        await bench.send(Write(account="probe", number=1))
        await has_written(bench, "probe", 1)

    yield probe
