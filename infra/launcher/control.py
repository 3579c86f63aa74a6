"""What a running launcher can be asked by another process of the same user: to replace a program.

Promise: nobody else can ask. The socket lies in a folder of its own below the machine's temporary one, because the path
of a Unix socket may have no more than about 100 characters; `runtime.json` names it. A question is a line with a name,
the answer a line with what went wrong, empty where nothing did.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from infra.launcher.failure import Failure

Replace = Callable[[str], Awaitable[None]]


@asynccontextmanager
async def told_at(replace: Replace) -> AsyncIterator[str]:
    """The path of a socket at which one is asked, for as long as the block lasts."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            name = (await reader.readline()).decode().strip()
            writer.write(f"{await _outcome(replace, name)}\n".encode())
            await writer.drain()
        writer.close()

    with tempfile.TemporaryDirectory(prefix="hedgerow-") as folder:
        path = Path(folder) / "control"
        server = await asyncio.start_unix_server(answer, path)
        try:
            yield str(path)
        finally:
            server.close()


async def ask(place: str, name: str) -> None:
    """Have a program replaced. Raises `Failure`."""
    try:
        reader, writer = await asyncio.open_unix_connection(place)
        writer.write(f"{name}\n".encode())
        answer = await reader.readline()
        writer.close()
    except OSError as error:
        raise Failure(f"The launcher can't be asked at {place}: {error.strerror}.") from error
    if not answer:
        raise Failure("The launcher ended meanwhile.")
    if failure := answer.decode().strip():
        raise Failure(failure)


async def _outcome(replace: Replace, name: str) -> str:
    try:
        await replace(name)
    except Failure as failure:
        return str(failure).replace("\n", " ")
    return ""
