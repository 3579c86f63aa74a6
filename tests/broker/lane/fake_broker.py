"""A broker that does as it is told: it speaks by pamqp, and answers, or does not, what a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pamqp import commands, frame, header, heartbeat
from pamqp.base import Frame
from pamqp.body import ContentBody

from broker.lane.wire.connection import Wire
from tests.support.eventually import eventually

F = TypeVar("F")
Answers = Callable[[Any], list[Frame]]

USUAL: dict[str, Answers] = {
    "Connection.StartOk": lambda _: [commands.Connection.Tune(2047, 131_072, 60)],
    "Connection.Open": lambda _: [commands.Connection.OpenOk()],
    "Connection.Close": lambda _: [commands.Connection.CloseOk()],
    "Channel.Open": lambda _: [commands.Channel.OpenOk()],
    "Channel.Close": lambda _: [commands.Channel.CloseOk()],
    "Exchange.Declare": lambda _: [commands.Exchange.DeclareOk()],
    "Queue.Declare": lambda asked: [commands.Queue.DeclareOk(asked.queue, 0, 0)],
    "Queue.Bind": lambda _: [commands.Queue.BindOk()],
    "Basic.Qos": lambda _: [commands.Basic.QosOk()],
    "Basic.Consume": lambda asked: [commands.Basic.ConsumeOk(asked.consumer_tag or "tag")],
    "Basic.Cancel": lambda asked: [commands.Basic.CancelOk(asked.consumer_tag)],
    "Confirm.Select": lambda _: [commands.Confirm.SelectOk()],
}


class FakeBroker:
    """Answers what `answers` says, by the name of the method, on the same channel; without an answer it is silent.
    `heard` has what came, `greeting` what it says first."""

    def __init__(self) -> None:
        self.answers = dict(USUAL)
        self.greeting: list[Frame | bytes] = [commands.Connection.Start(0, 9, {}, "PLAIN AMQPLAIN", "en_US")]
        self.heard: list[tuple[int, Any]] = []
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []

    def say(self, *methods: Frame | bytes, channel: int = 0) -> None:
        """Send methods, or bytes, in one piece over the newest connection."""
        self._writers[-1].write(_frames(methods, channel))

    def hang_up(self) -> None:
        """End the newest connection without a word."""
        self._writers[-1].transport.abort()

    def all_of(self, kind: type[F]) -> list[F]:
        """What was heard of a kind."""
        return [said for _, said in self.heard if isinstance(said, kind)]

    async def has_heard(self, kind: type[F], number: int = 1) -> list[F]:
        """Wait until so many of a kind were heard."""

        async def enough() -> bool:
            return len(self.all_of(kind)) >= number

        await eventually(enough)
        return self.all_of(kind)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._writers.append(writer)
        try:
            assert await reader.readexactly(8) == b"AMQP\0\0\x09\x01"
            writer.write(_frames(self.greeting, 0))
            while True:
                head = await reader.readexactly(7)
                rest = await reader.readexactly(int.from_bytes(head[3:]) + 1)
                _, channel, said = frame.unmarshal(head + rest)
                self.heard.append((channel, said))
                writer.write(_frames(self.answers.get(said.name, lambda _: [])(said), channel))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def close(self) -> None:
        """Hang up everywhere."""
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def fake_broker() -> AsyncIterator[FakeBroker]:
    """A fake broker at `url` for as long as the block lasts."""
    broker = FakeBroker()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.url = f"amqp://me:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/shop%2Fone"
    try:
        yield broker
    finally:
        server.close()
        broker.close()
        await server.wait_closed()


@asynccontextmanager
async def wired(broker: FakeBroker, lost: Callable[[], None] = lambda: None) -> AsyncIterator[Wire]:
    """A wire to a broker."""
    wire = await Wire.connect(broker.url, name="tests", lost=lost)
    try:
        yield wire
    finally:
        await wire.close()


def _frames(methods: Iterable[Frame | bytes], channel: int) -> bytes:
    return b"".join(said if isinstance(said, bytes) else frame.marshal(said, channel) for said in methods)


def content(method: Frame, body: bytes = b"{}", **properties: Any) -> bytes:
    """The frames of a message on channel 1."""
    described = commands.Basic.Properties(**properties)
    parts: list[Any] = [method, header.ContentHeader(0, len(body), described), ContentBody(body)]
    return b"".join(frame.marshal(part, 1) for part in parts)


BEAT = frame.marshal(heartbeat.Heartbeat(), 0)
