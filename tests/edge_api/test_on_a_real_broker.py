"""The edge on a real broker, in front of services that come and go."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import pytest

from broker.running import running as serving
from broker.service import Http, Service
from contracts.base import Message, Query
from contracts.tokens import JWKS_PATH
from edge_api.app import edge
from edge_api.settings import Settings
from infra.launcher.state import any_free_port
from tests.support.eventually import eventually
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers


class Greeting(Message):
    words: str


class Greet(Query[Greeting]):
    """Say hello."""

    topic: ClassVar[str] = "plug.greet.v1"
    name: str
    after: float = 0


class KeySet(Message):
    keys: tuple[dict[str, Any], ...]


class GetKeys(Query[KeySet]):
    """No keys, but the route of the keys."""

    topic: ClassVar[str] = "plug.get-keys.v1"


class Keep(Query[Greeting]):
    """A greeting for a name in the body."""

    topic: ClassVar[str] = "plug.keep.v1"
    name: str


def plug() -> Service:
    """A service of somebody else's."""
    service = Service("plug", version="1")

    @service.answers(Greet, http=Http("GET", "/greetings/{name}", who="anyone", within=2))
    async def greet(question: Greet) -> Greeting:
        await asyncio.sleep(question.after)
        return Greeting(words=f"Hello, {question.name}!")

    @service.answers(Keep, http=Http("POST", "/greetings", who="anyone"))
    async def keep(question: Keep) -> Greeting:
        return Greeting(words=question.name)

    @service.answers(GetKeys, http=Http("GET", JWKS_PATH, who="anyone"))
    async def get_keys(question: GetKeys) -> KeySet:
        return KeySet(keys=())

    return service


@asynccontextmanager
async def client_of(amqp: str, *, ready: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an edge that runs in this process."""
    app = edge(Settings(amqp_url=amqp))
    async with app.alive(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
        if ready:
            await eventually(lambda: missing(client, "broker", "presence"))
        yield client


async def missing(client: httpx.AsyncClient, *names: str) -> bool:
    return not {*names} & {*(await client.get("/readyz")).json()["missing"]}


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def answers(client: httpx.AsyncClient, status: int) -> httpx.Response:
    response = await client.get("/greetings/Ann")
    assert response.status_code == status, response.text
    return response


async def test_a_services_routes_appear_and_disappear_with_it(amqp: str) -> None:
    async with client_of(amqp) as client:
        await answers(client, 404)
        async with serving(plug(), amqp_url=amqp, database_url=None):
            response = await eventually(lambda: answers(client, 200))
            assert response.json() == {"words": "Hello, Ann!"}
            await eventually(lambda: is_ready(client))
        started = time.perf_counter()
        response = await answers(client, 503)
        assert time.perf_counter() - started < 0.1
        assert (response.json()["type"], response.headers["retry-after"]) == ("/problems/service-unavailable", "1")
        async with serving(plug(), amqp_url=amqp, database_url=None):
            await eventually(lambda: answers(client, 200))


async def test_a_running_service_is_known_at_once_to_an_edge_that_starts(amqp: str) -> None:
    async with serving(plug(), amqp_url=amqp, database_url=None), client_of(amqp) as client:
        await answers(client, 200)


async def test_a_service_that_was_away_before_the_edge_started_is_known(amqp: str) -> None:
    async with client_of(amqp) as first, serving(plug(), amqp_url=amqp, database_url=None):
        await eventually(lambda: answers(first, 200))
    async with client_of(amqp) as second:
        response = await answers(second, 503)
        assert response.json()["type"] == "/problems/service-unavailable"


async def test_before_it_knows_the_services_nothing_is_said_not_to_be_there(amqp: str) -> None:
    async with client_of(amqp, ready=False) as client:
        assert (await answers(client, 503)).json()["type"] == "/problems/starting"
        await eventually(lambda: answers(client, 404))


async def test_an_answer_is_not_waited_for_longer_than_the_route_says(amqp: str) -> None:
    async with serving(plug(), amqp_url=amqp, database_url=None), client_of(amqp) as client:
        started = time.perf_counter()
        response = await client.get("/greetings/Ann?after=20")
        assert (response.status_code, response.json()["type"]) == (504, "/problems/deadline-passed")
        assert 1.9 < time.perf_counter() - started < 4


async def test_the_service_judges_the_fields(amqp: str) -> None:
    async with serving(plug(), amqp_url=amqp, database_url=None), client_of(amqp) as client:
        response = await client.get("/greetings/Ann?after=soon")
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/after")


async def test_a_lost_connection_is_made_again(amqp: str, servers: RealServers) -> None:
    async with serving(plug(), amqp_url=amqp, database_url=None), client_of(amqp) as client:
        await answers(client, 200)
        async with nobody_let_in(servers, amqp) as put_out:

            async def is_out() -> bool:
                await put_out()
                return "broker" in (await client.get("/readyz")).json()["missing"]

            await eventually(is_out, within=15, every=0.2)
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/greetings/Ann")).status_code == 503
        await eventually(lambda: answers(client, 200), within=15)


@asynccontextmanager
async def nobody_let_in(servers: RealServers, amqp: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Nobody comes into the virtual host for as long as the block lasts; what it gets puts out everybody who is in, as
    far as the management API knows of them, which it does after some seconds."""
    place = urlsplit(amqp)
    rights = f"/api/permissions{place.path}/{place.username}"
    async with httpx.AsyncClient(base_url=servers.rabbitmq_management) as management:

        async def put_out() -> None:
            for connection in (await management.get(f"/api/vhosts{place.path}/connections")).json():
                await management.delete(f"/api/connections/{connection['name']}")

        (await management.delete(rights)).raise_for_status()
        try:
            yield put_out
        finally:
            everything = dict.fromkeys(("configure", "write", "read"), ".*")
            (await management.put(rights, json=everything)).raise_for_status()


async def test_while_the_broker_is_away_it_serves_and_says_so() -> None:
    async with client_of(f"amqp://nobody:nothing@127.0.0.1:{any_free_port()}/%2F", ready=False) as client:
        assert (await client.get("/healthz")).status_code == 200
        response = await client.get("/readyz")
        assert (response.status_code, response.json()["missing"]) == (
            503,
            ["broker", "presence", "keys", "revocations"],
        )
        assert (await answers(client, 503)).json()["type"] == "/problems/starting"


@asynccontextmanager
async def process(amqp: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m edge_api`."""
    edge_process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "edge_api"),
        env={**os.environ, "HEDGEROW_AMQP_URL": amqp, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield edge_process
    finally:
        if edge_process.returncode is None:
            edge_process.kill()
        await edge_process.communicate()


@asynccontextmanager
async def served(amqp: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an edge in a process of its own, which has found the service."""
    port = str(any_free_port())
    async with (
        serving(plug(), amqp_url=amqp, database_url=None),
        process(amqp, HEDGEROW_PORT=port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        await eventually(lambda: reachable(client), within=15)
        yield client


async def reachable(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/greetings/Ann")).status_code == 200
    except httpx.TransportError:
        return False


async def test_told_to_stop_it_finishes_what_runs_and_takes_nothing_new(amqp: str) -> None:
    port = str(any_free_port())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(plug(), amqp_url=amqp, database_url=None))
        running = await stack.enter_async_context(process(amqp, HEDGEROW_PORT=port))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}"))
        await eventually(lambda: reachable(client), within=15)
        slow = asyncio.create_task(client.get("/greetings/Ann?after=1"))
        await asyncio.sleep(0.3)
        running.send_signal(signal.SIGTERM)
        await eventually(lambda: refuses(port), within=2)
        assert (await slow).status_code == 200
        assert await asyncio.wait_for(running.wait(), 5) == 0


async def refuses(port: str) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(port))
    except ConnectionError:
        return True
    writer.close()
    return False


@pytest.mark.parametrize("size", [(1 << 20) + 1, 20 << 20])
async def test_a_large_body_is_refused_over_a_real_connection(amqp: str, size: int) -> None:
    async with served(amqp) as client:
        headers = {"content-type": "application/json"}
        for content in (b" " * size, chunks(size)):
            response = await client.post("/greetings", content=content, headers=headers)
            assert (response.status_code, response.json()["type"]) == (413, "/problems/body-too-large")
        assert (await client.post("/greetings", json={"name": "Ann"})).json() == {"words": "Ann"}


async def test_who_sends_a_refused_body_slowly_sees_the_refusal(amqp: str) -> None:
    async with served(amqp) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"POST /greetings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % (2 << 20))
        for _ in range(16):
            writer.write(b" " * (1 << 17))
            await writer.drain()
            await asyncio.sleep(0.1)
        assert b" 413 " in await reader.readline()
        writer.close()


async def test_a_body_in_chunks_that_make_no_sense_is_refused(amqp: str) -> None:
    async with served(amqp) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"POST /greetings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()


async def test_path_and_headers_come_in_as_they_were_sent(amqp: str) -> None:
    async with served(amqp) as client:
        assert (await client.get("/greetings/a%2Fb")).json() == {"words": "Hello, a/b!"}
        assert (await client.get("/greetings/%FF")).json()["type"] == "/problems/malformed-url"
        not_ascii = {b"authorization": "Bearer é".encode()}
        assert (await client.get("/greetings/Ann", headers=not_ascii)).status_code == 401


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 1 << 16):
        yield b" " * (1 << 16)


@pytest.mark.parametrize("change", [{"HEDGEROW_PORT": "none"}, {"HEDGEROW_AMQP_URL": ""}])
async def test_a_bad_setting_ends_it_with_one_sentence(change: dict[str, str]) -> None:
    async with process("amqp://nobody:nothing@127.0.0.1:1/", **change) as failing:
        output, error = await failing.communicate()
        assert (failing.returncode, output) == (1, b"")
        assert error.decode().count("\n") == 1
        assert next(iter(change)) in error.decode()


async def test_a_taken_port_ends_it_with_one_sentence() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        async with process("amqp://nobody:nothing@127.0.0.1:1/", HEDGEROW_PORT=port) as failing:
            _, error = await failing.communicate()
            assert failing.returncode == 1
            assert error.decode() == f"Port {port} on 127.0.0.1 is taken; set HEDGEROW_PORT to a free one.\n"
