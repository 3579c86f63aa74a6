"""A service under test, running on a real broker and a real database, and somebody who talks to it."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from sqlalchemy import Executable, MetaData, text
from sqlalchemy.ext.asyncio import AsyncSession

from broker import topology
from broker.connection import Link
from broker.ids import new_token
from broker.lane import DEFAULT_SECONDS, NOBODY, Ask
from broker.lane.carriers import Carrier
from broker.outbox import Origin, envelope
from broker.running import Running, running
from broker.service import Service
from contracts.base import Caller, Command, Event, Operation, Refusal, Said
from tests.support.eventually import eventually

Reply = TypeVar("Reply")
Heard = TypeVar("Heard", bound=Event)


class Harness:
    """Asks, commands, publishes and listens. `source` is the name under which it publishes events."""

    def __init__(self, amqp: str, *, source: str = "tests") -> None:
        self.link = Link(amqp, name="harness")
        self.carrier = Carrier(amqp, name="harness")
        self.requester = self.carrier.requester(owner="harness")
        self.publisher = self.carrier.publisher
        self.source = source
        self.seen: list[AbstractIncomingMessage] = []
        self._taken: set[str] = set()
        self._order: dict[str, tuple[int, dict[str, list[int]]]] = {}
        self.service: Running | None = None
        self.link.on_connect(self._listen)

    async def wait_up(self, *, within: float) -> None:
        """Wait until it is connected."""
        for link in (self.carrier.publishing, self.link):
            await link.wait_up(within=within)

    async def ask(self, operation: Operation[Reply], caller: Caller = NOBODY, **more: Any) -> Reply | Refusal:
        """Ask as a caller; `within` seconds."""
        deadline = time.time() + more.get("within", DEFAULT_SECONDS)
        return await Ask(self.requester, deadline, caller)(operation)

    async def send(self, command: Command, *, headers: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a command; with the `headers` of an earlier one, send that again. Returns its headers."""
        headers = headers or envelope(self.source, command, Origin("test"))
        await self._publish(topology.COMMANDS, command, headers)
        return headers

    def number(self, event: Event) -> dict[str, Any]:
        """The headers of an event, next in its aggregate's order, without publishing it."""
        sequence, topics = self._order.get(event.aggregate, (0, {}))
        order = {"sequence": sequence + 1, "predecessors": json.dumps(topics)}
        topics = {**topics, event.topic: [sequence + 1, int(time.time() * 1000)]}
        self._order[event.aggregate] = (sequence + 1, topics)
        return {**envelope(self.source, event, Origin("test")), **order}

    async def publish(self, event: Event, *, headers: dict[str, Any] | None = None) -> dict[str, Any]:
        """Publish an event; with the `headers` of an earlier one, publish that again. Returns its headers."""
        headers = headers or self.number(event)
        await self._publish(topology.EVENTS, event, headers)
        return headers

    async def heard(self, kind: type[Heard], *about: object, within: float = 5) -> Heard:
        """The next event of this kind that was not taken yet, by whoever published it; if aggregates are named, the
        next about one of them."""
        subjects = set(map(str, about))

        async def look() -> AbstractIncomingMessage | None:
            return next((seen for seen in self.seen if self._is_wanted(seen, kind.topic, subjects)), None)

        try:
            message = await eventually(look, within=within, every=0.01)
        except AssertionError:
            heard = [seen.routing_key for seen in self.seen]
            raise AssertionError(f"no {kind.topic} within {within} s; heard {heard}") from None
        assert message is not None
        self._taken.add(str(message.headers["cloudEvents_id"]))
        return kind.model_validate_json(message.body)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session on the service's database, to look; nothing is committed."""
        assert self.service is not None
        assert self.service.database is not None
        async with self.service.database.reading() as transaction:
            yield transaction.session

    async def write(self, statement: Executable) -> None:
        """Have this done to the service's database."""
        assert self.service is not None
        assert self.service.database is not None
        await self.service.database.transact(Origin("test"), lambda tx: tx.session.execute(statement))

    async def empty(self, tables: MetaData) -> None:
        """Delete every row of these tables of the service."""
        await self.write(text(f"TRUNCATE {', '.join(table.name for table in tables.sorted_tables)}"))

    async def forget_people(self) -> None:
        """Delete the keys of all people."""
        await self.write(text("DELETE FROM person_keys WHERE person <> '00000000-0000-0000-0000-000000000000'"))

    def _is_wanted(self, message: AbstractIncomingMessage, topic: str, subjects: set[str]) -> bool:
        headers = message.headers
        is_new = message.routing_key == topic and headers["cloudEvents_id"] not in self._taken
        return is_new and (not subjects or headers["cloudEvents_subject"] in subjects)

    async def _publish(self, exchange: str, message: Said, headers: dict[str, Any]) -> None:
        body = message.model_dump_json().encode()
        await self.publisher.publish(exchange, message.topic, body, headers, mandatory=True)

    async def _listen(self, connection: AbstractConnection) -> None:
        channel = await connection.channel()
        queue = await channel.declare_queue(topology.reply_queue("harness", new_token()), exclusive=True)
        await queue.bind(topology.EVENTS, "#")
        await queue.consume(self._hear, no_ack=True)

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        self.seen.append(message)


@asynccontextmanager
async def harness(amqp: str, *, source: str = "tests") -> AsyncIterator[Harness]:
    """A harness that is connected."""
    it = Harness(amqp, source=source)
    links = (it.carrier.publishing, it.link)  # the first declares the exchanges
    try:
        for link in links:
            await link.start()
            await link.wait_up(within=20)
        yield it
    finally:
        for link in links:
            await link.close()


@asynccontextmanager
async def under_test(service: Service, *, amqp: str, database: str | None) -> AsyncIterator[Harness]:
    """A harness with a running service."""
    async with harness(amqp) as it, running(service, amqp_url=amqp, database_url=database) as run:
        it.service = run
        yield it
