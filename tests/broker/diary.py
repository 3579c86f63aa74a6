"""A service that writes down what it hears and is told, for tests of how durable messages arrive."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from prometheus_client import Counter
from sqlalchemy import text

from broker import topology
from broker.ids import new_token
from broker.injection import Attempt
from broker.service import Service
from broker.transaction import Transaction
from contracts.base import Command, Event, Said
from tests.support.eventually import eventually
from tests.support.harness import Harness


class AboutAnAccount(Said):
    """What is said in these tests: a number about an account."""

    subject: ClassVar[str] = "account"
    account: str
    number: int = 0


class Opened(AboutAnAccount, Event):
    """Said by the tests."""

    topic: ClassVar[str] = "tests.opened.v1"


class Grown(AboutAnAccount, Event):
    """Said by the tests."""

    topic: ClassVar[str] = "tests.grown.v1"


class Closed(AboutAnAccount, Event):
    """Said by the tests; the diary does not listen."""

    topic: ClassVar[str] = "tests.closed.v1"


class Write(AboutAnAccount, Command):
    """Write this down."""

    topic: ClassVar[str] = "diary.write.v1"


class Written(AboutAnAccount, Event):
    """Said by the diary."""

    topic: ClassVar[str] = "diary.written.v1"


Behaviour = Callable[[Any, Attempt], Awaitable[None]]
Pages = dict[str, Behaviour]
"""How a handler behaves, by account."""

OPENED = topology.work_queue("diary", Opened.topic)
GROWN = topology.work_queue("diary", Grown.topic)
WRITE = topology.work_queue("diary", Write.topic)


def diary(pages: Pages | None = None, *, ordered: bool = True, grown: bool = True) -> Service:
    """The service; an account's behaviour runs in each handler after the effect, before the commit."""
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
        if pages is not None and said.account in pages:
            await pages[said.account](said, attempt)

    service.hears(Opened, ordered=ordered)(write_down)
    if grown:
        service.hears(Grown, ordered=ordered)(write_down)
    service.does(Write)(write_down)
    return service


class Bench:
    """A running diary and who talks to it, about one account after the other."""

    def __init__(self, harness: Harness, pages: Pages | None = None) -> None:
        self.harness = harness
        self.account = "a"
        self._pages = {} if pages is None else pages

    def turn_the_page(self) -> None:
        """Go on with a fresh account."""
        self.account = new_token()[:8]

    def behave(self, behaviour: Behaviour) -> None:
        """Let the handlers behave like this for the account."""
        self._pages[self.account] = behaviour

    def opened(self, number: int) -> Opened:
        """An event about the account."""
        return Opened(account=self.account, number=number)

    def grown(self, number: int) -> Grown:
        """Another event about the account."""
        return Grown(account=self.account, number=number)

    def write(self, number: int) -> Write:
        """A command about the account."""
        return Write(account=self.account, number=number)

    async def numbers(self) -> list[int]:
        """The numbers written down for the account, in the order of the effects."""
        return [number for number, _ in await self.effects()]

    async def effects(self) -> list[tuple[int, int]]:
        """Number and attempt of each effect for the account."""
        statement = text("SELECT number, attempt FROM diary WHERE account = :account ORDER BY id")
        async with self.harness.session() as session:
            rows = (await session.execute(statement, {"account": self.account})).all()
        return [(row.number, row.attempt) for row in rows]

    async def has_written(self, *expected: int, within: float = 10) -> None:
        """Wait until exactly these numbers are written down for the account, in this order."""

        async def check() -> bool:
            found = await self.numbers()
            assert found == list(expected)
            return True

        await eventually(check, within=within)

    async def has_written_all(self, expected: set[tuple[int, int]], *, within: float = 10) -> None:
        """Wait until these numbers are written down for the account, at these attempts, in whatever order."""

        async def check() -> bool:
            assert sorted(await self.effects()) == sorted(expected)
            return True

        await eventually(check, within=within)

    async def has_parked(self, expected: int) -> None:
        """Wait until so many events of the account are parked."""

        async def check() -> bool:
            statement = text("SELECT count(*) FROM parked WHERE aggregate = :account")
            async with self.harness.session() as session:
                found = (await session.execute(statement, {"account": self.account})).scalar_one()
            assert found == expected
            return True

        await eventually(check, within=10)

    async def dead_letter(self, *, within: float = 10) -> AbstractIncomingMessage:
        """Take the next dead letter."""
        return await take(self.harness, topology.DEAD_LETTERS, within=within)


async def take(harness: Harness, queue: str, *, within: float = 10) -> AbstractIncomingMessage:
    """Take the next message of a queue that nobody consumes."""
    assert harness.link.connection is not None
    async with harness.link.connection.channel() as channel:
        source = await channel.get_queue(queue, ensure=False)

        async def look() -> AbstractIncomingMessage | None:
            return await source.get(no_ack=True, fail=False)

        found = await eventually(look, within=within)
        assert found is not None
        return found


async def waiting(harness: Harness, queue: str) -> int:
    """How many messages are ready in a queue."""
    assert harness.link.connection is not None
    async with harness.link.connection.channel() as channel:
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


async def put(
    harness: Harness, exchange: str, key: str, body: bytes, headers: dict[str, Any], kind: str | None = None
) -> None:
    """Publish as a stranger would: whatever it is, as it is."""
    assert harness.link.connection is not None
    async with harness.link.connection.channel() as channel:
        target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(body, headers=headers, type=kind), key)


def count(counter: Counter, *labels: str) -> float:
    """What a counter says."""
    return float(counter.labels(*labels)._value.get())


async def counted(counter: Counter, *labels: str, expected: float) -> None:
    """Wait until a counter says so."""

    async def check() -> bool:
        assert count(counter, *labels) == expected
        return True

    await eventually(check, within=10)


class Gate:
    """A place where handlers wait until the test lets them go; `reached` has who came."""

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

    async def has_seen(self, *numbers: int, within: float = 10) -> None:
        """Wait until these have come."""

        async def check() -> bool:
            return set(numbers) <= set(self.reached)

        await eventually(check, within=within)
