"""A small HTTP/1.1 client that costs little enough not to be what is measured."""

import asyncio
from typing import Self
from urllib.parse import urlsplit

MOST = 256


class Connection(asyncio.Protocol):
    """One connection, kept alive; one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if end and self._answer and len(rest) >= (length := _content_length(head)):
            answer, self._answer, self._buffer = self._answer, None, rest[length:]
            answer.set_result((int(head[9:12]), rest[:length]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close it."""
        self._transport.close()


class Client:
    """As many connections to one server as there are requests at once, up to `MOST`; further requests wait. They carry
    a token, or want no kept answer."""

    def __init__(self, url: str, *, token: str | None = None, anew: bool = False) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port or 80
        self._headers = f"Host: {place.netloc}\r\n" + (f"Authorization: Bearer {token}\r\n" if token else "")
        self._headers += "Cache-Control: no-cache\r\n" if anew else ""
        self._idle: list[Connection] = []
        self._all: list[Connection] = []
        self._free = asyncio.Semaphore(MOST)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._all:
            connection.close()

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """A request as it is sent; may be sent again and again."""
        about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        return f"{method} {path} HTTP/1.1\r\n{self._headers}{about}\r\n".encode() + body

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        async with self._free:
            connection = self._idle.pop() if self._idle else await self._connect()
            answer = await connection.ask(request)
            self._idle.append(connection)
        return answer

    async def _connect(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, self._host, self._port)
        self._all.append(connection)
        return connection


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("only answers with a Content-Length are understood")
