"""The edge's own port: HTTPS with certificates that change, clients that are slow, browsers of other origins."""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from edge_api.certificate import Certificate, CertificateError
from edge_api.listening import READ_WITHIN_SECONDS
from edge_api.serve import HEADERS_WITHIN_SECONDS
from infra.launcher.state import any_free_port
from tests.support.certificates import Authority
from tests.support.eventually import eventually

pytestmark = pytest.mark.servers
NO_BROKER = "amqp://nobody:nothing@127.0.0.1:1/"


@asynccontextmanager
async def listening(**settings: str) -> AsyncIterator[int]:
    """The port of an edge that has no broker, which is enough to be alive."""
    port = any_free_port()
    known = {name: value for name, value in os.environ.items() if not name.startswith("HEDGEROW_")}
    told = known | {"HEDGEROW_AMQP_URL": NO_BROKER, "HEDGEROW_PORT": str(port), "HEDGEROW_LIMITS": "off", **settings}
    pipe = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "edge_api", env=told, stdout=pipe, stderr=pipe)
    try:
        await eventually(lambda: accepts(port), within=20)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def accepts(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await closed(writer)
        return True
    return False


def client_of(port: int) -> httpx.AsyncClient:
    """A client that is patient: it shares the machine with five hundred others."""
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20)


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever its other end did to it."""
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def in_use(authority: Authority, folder: Path, name: str) -> dict[str, str]:
    """The settings of an edge with the certificate of this name, in files that can be replaced."""
    for given, place in zip(authority.certify(name), ("served.pem", "served.key"), strict=True):
        shutil.copy(given, folder / f"{place}.new")
        (folder / f"{place}.new").rename(folder / place)
    return {
        "HEDGEROW_TLS_CERTIFICATE": str(folder / "served.pem"),
        "HEDGEROW_TLS_KEY": str(folder / "served.key"),
    }


async def served(port: int, authority: Authority) -> str:
    """Whose certificate the port shows."""
    context = ssl.create_default_context(cafile=authority.certificate)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    names = writer.get_extra_info("peercert")["subject"]
    await closed(writer)
    return str(dict(pair for part in names for pair in part)["commonName"])


async def test_a_certificate_is_replaced_while_requests_come_in_and_none_fails_that_is_tried_again(
    authority: Authority, tmp_path: Path
) -> None:
    context = ssl.create_default_context(cafile=authority.certificate)
    answered, over = 0, asyncio.Event()
    async with listening(**in_use(authority, tmp_path, "first")) as port:

        async def ask(client: httpx.AsyncClient) -> httpx.Response:
            """As browsers and proxies do: once more, where the connection ended before there was an answer."""
            try:
                return await client.get(f"https://127.0.0.1:{port}/healthz")
            except httpx.TransportError:
                return await client.get(f"https://127.0.0.1:{port}/healthz")

        async def ask_on() -> None:
            nonlocal answered
            while not over.is_set():
                async with httpx.AsyncClient(verify=context, trust_env=False) as client:
                    for _ in range(3):
                        response = await ask(client)
                        assert response.headers["strict-transport-security"].startswith("max-age=")
                        answered += 1
                await asyncio.sleep(0.02)

        asking = [asyncio.create_task(ask_on()) for _ in range(4)]
        assert await served(port, authority) == "first"
        in_use(authority, tmp_path, "second")

        async def is_renewed() -> bool:
            """For some seconds both are served, and then those are closed that met the first."""
            with contextlib.suppress(ConnectionError):
                return {await served(port, authority) for _ in range(20)} == {"second"}
            return False

        await eventually(is_renewed, within=20)
        before = answered
        await eventually(lambda: _more(lambda: answered > before + 20), within=10)
        (tmp_path / "served.pem").write_text("nonsense")
        before = answered
        await eventually(lambda: _more(lambda: answered > before + 100), within=10)
        assert await served(port, authority) == "second"
        for task in asking:
            assert not task.done(), task.exception()
        over.set()
        await asyncio.gather(*asking)


async def _more(check: object) -> bool:
    assert callable(check)
    return bool(check())


def test_files_that_are_no_certificate_are_refused(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.certify("one"), authority.certify("other")
    Certificate(*one).check()
    for chain, key in ((one[0], other[1]), (one[1], one[0]), (one[0], tmp_path / "none")):
        with pytest.raises(CertificateError):
            Certificate(chain, key).check()


@pytest.mark.timeout(60)
async def test_five_hundred_slow_clients_and_one_that_reads_nothing_are_cut_and_nobody_else_notices() -> None:
    async with listening() as port, client_of(port) as client:

        async def dribble(number: int) -> float:
            """Send one byte a second, or nothing at all; how long that was borne."""
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            began = time.monotonic()
            written = iter(b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 100 if number % 2 else b"")
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof() and time.monotonic() - began < 30:
                    if (byte := next(written, None)) is not None:
                        writer.write(bytes([byte]))
                        await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1000), 1)
            await closed(writer)
            return time.monotonic() - began

        idle = asyncio.create_task(read_nothing(port))
        slow = asyncio.gather(*(dribble(number) for number in range(500)))
        while not slow.done():
            assert (await client.get("/healthz")).status_code == 200
            await asyncio.sleep(0.05)
        assert max(await slow) < HEADERS_WITHIN_SECONDS + 5
        assert await idle < READ_WITHIN_SECONDS * 2 + 5


async def read_nothing(port: int) -> float:
    """Ask and ask, and take no answer; how long that was borne."""
    began, loop = time.monotonic(), asyncio.get_running_loop()
    with socket.socket() as client, contextlib.suppress(OSError):
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with asyncio.timeout(30):
            await loop.sock_connect(client, ("127.0.0.1", port))
            while True:
                await loop.sock_sendall(client, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    return time.monotonic() - began


async def test_browsers_of_the_named_origins_may_ask_and_others_may_not() -> None:
    async with listening(HEDGEROW_CORS_ORIGINS="https://shop.example") as port, client_of(port) as client:
        asking = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        welcome = await client.options("/orders", headers={"origin": "https://shop.example", **asking})
        stranger = await client.options("/orders", headers={"origin": "https://evil.example", **asking})
        plain = await client.get("/healthz", headers={"origin": "https://shop.example"})
    assert welcome.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in stranger.headers
    assert (plain.headers["access-control-allow-origin"], plain.status_code) == ("https://shop.example", 200)
