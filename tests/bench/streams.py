"""Open streams

2,000 streams of orders (`GET /orders/{id}/events`) are open on one edge, 20 of each of 100 customers, and meanwhile one
order is looked at 500 times a second (open loop, through RabbitMQ and PostgreSQL). Memory is the RSS of the edge and
its children; "told" is from the answer to a member of staff who ships an order until all 20 of its streams say so.
"""

import asyncio
import fcntl
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx

from infra.launcher.failure import Failure
from infra.launcher.leftovers import wait_until
from infra.launcher.state import any_free_port
from tests.bench.ground import Ground, ground
from tests.bench.open_loop import open_loop
from tests.bench.rounds import Figures, Plan, Table, alternate, compare
from tests.support.customer import visitor

CUSTOMERS, OF_ONE, RATE = 100, 20, 500
QUIET, STREAMING = "no streams", f"{CUSTOMERS * OF_ONE:,} streams"
P99, MEMORY, TOLD = "p99 ms", "the edge's MB", "told, ms"


@dataclass(frozen=True)
class Follower:
    """A customer with an order."""

    token: str
    order: dict[str, Any]

    @property
    def path(self) -> str:
        """Where it is looked at."""
        return f"/orders/{self.order['id']}"


def measure(plan: Plan) -> list[Table]:
    """The rest of the shop without streams and with them."""
    with ground(port=any_free_port()) as here:
        plan.say(f"{CUSTOMERS} customers register and order")
        staff, followers = asyncio.run(_customers(here))
        beside = partial(_look_beside, here, staff, followers, iter(followers))
        sides = {QUIET: partial(_look, here, followers[-1]), STREAMING: beside}
        table = Table("The rest of the shop beside open streams", alternate(sides, plan))
    more = table.figure(STREAMING, MEMORY) - table.figure(QUIET, MEMORY)
    return [
        table.saying(
            compare(table.figure(QUIET, P99), table.figure(STREAMING, P99), at_least=0.8, what="p99 without and with"),
            f"A stream takes {more * 1000 / CUSTOMERS / OF_ONE:.0f} KB of the edge's memory.",
        )
    ]


async def _customers(here: Ground) -> tuple[str, list[Follower]]:
    """The token of a member of staff, and customers whose orders are confirmed."""
    edge, administrator = str(here.runtime["edge"]), here.state.read("admin.json")
    async with visitor(edge) as staff:
        await staff.log_in(administrator["email"], administrator["password"])
        sku = await staff.add_product(on_hand=1_000_000)
    followers = []
    for _ in range(CUSTOMERS):
        async with visitor(edge) as customer:
            await customer.register()
            order = await customer.settled(await customer.order(sku))
            followers.append(Follower(_token(customer.http), order))
    return _token(staff.http), followers


def _token(http: httpx.AsyncClient) -> str:
    return http.headers["Authorization"].removeprefix("Bearer ")


def _look(here: Ground, follower: Follower, seconds: float) -> Figures:
    found = open_loop(f"{here.runtime['edge']}{follower.path}", rate=RATE, seconds=seconds, token=follower.token)
    memory = sum(process.memory_info().rss for process in here.family("edge"))
    return {**found, MEMORY: memory / 1e6}


def _look_beside(
    here: Ground, staff: str, followers: Sequence[Follower], to_ship: Iterator[Follower], seconds: float
) -> Figures:
    if not wait_until(partial(_none_is_open, here), within=30):
        raise Failure("The edge does not forget the streams that were closed.")
    with ExitStack() as stack:
        streams = {follower.path: stack.enter_context(_streams(here, follower)) for follower in followers}
        figures = _look(here, followers[-1], seconds)
        shipped = next(to_ship)
        url, headers = f"{here.runtime['edge']}{shipped.path}/shipments", {"Authorization": f"Bearer {staff}"}
        httpx.post(url, json={"carrier": "DHL", "tracking": "1"}, headers=headers, trust_env=False).raise_for_status()
        began = time.perf_counter()
        for stream in streams[shipped.path]:
            _read_until(stream, b'"shipped"')
        return {**figures, TOLD: (time.perf_counter() - began) * 1000}


@contextmanager
def _streams(here: Ground, follower: Follower) -> Iterator[Sequence[socket.socket]]:
    """All streams of one customer, each told what has happened so far."""
    place = urlsplit(str(here.runtime["edge"]))
    request = (
        f"GET {follower.path}/events HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {follower.token}\r\n\r\n"
    )
    with ExitStack() as stack:
        found = []
        for _ in range(OF_ONE):
            stream = stack.enter_context(_connected(place.hostname or "", place.port or 80))
            stream.sendall(request.encode())
            _read_until(stream, b'"confirmed"')
            found.append(stream)
        yield found


def _connected(host: str, port: int) -> socket.socket:
    """A connection out of the load generator's way: its `select` knows no descriptors above 1,023."""
    with socket.create_connection((host, port)) as low:
        stream = socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1024))
    stream.settimeout(10)
    return stream


def _none_is_open(here: Ground) -> bool:
    return "\nhedgerow_http_streams 0.0\n" in httpx.get(here.runtime["metrics"]["edge"], trust_env=False).text


def _read_until(stream: socket.socket, word: bytes) -> None:
    heard = b""
    while word not in heard:
        more = stream.recv(65536)
        if not more:
            raise Failure(f"A stream ended before it told {word.decode()}: {heard[-500:]!r}")
        heard += more
