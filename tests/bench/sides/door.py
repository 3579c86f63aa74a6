"""The edge's door without a network: its real parts, requests as granian gives them, and a lane that answers at once.
With all parts and without each of them it is asked in turn, a few hundred times: whatever else the machine does falls
on all. Prints what each costs, in processor µs a request, after BENCH_SECONDS."""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import uuid4

import uuid_utils
import uvloop
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.lane import Answer
from broker.logs import configure_logging
from contracts.base import Caller
from contracts.presence import Cache
from edge_api import reading
from edge_api.capacity import AT_ONCE
from edge_api.limits import rates_from
from edge_api.responses import Response
from edge_api.telemetry import Telemetry
from tests.bench.ground import FOLDER
from tests.bench.rounds import Figures
from tests.bench.sides.closed_loop import seconds
from tests.edge_api.world import World, offer
from tests.support.platform import WIDE

GET, POST, CACHED = "GET with a token", "POST of 200 bytes with a token", "GET from the edge's cache"
LIMITED, OVERLOADED = "429: the address asks too often", "503: the service is asked too much at a time"
HEALTH = "/healthz, through Starlette"
REMEMBERED, VERIFIED = "access token, remembered", "instead: access token, verified anew"
LIMITS, TOLD, CAPACITY = "rate limits and their headers", "counters and log line", "capacity of a service"
TRACE, ID, ROUTING, HEAD = "trace context", "request id", "routing", "all other headers, those for security included"
IN_TIME = "beside it: time limit on the body of a POST"
NO_DOOR = "no door"
REQUESTS = (GET, POST, CACHED, LIMITED, OVERLOADED, HEALTH)
PARTS = (REMEMBERED, LIMITS, TOLD, ROUTING, TRACE, HEAD, CAPACITY, ID)
"""Of the GET."""
LEARNING, SLICE = 64, 256
"""Requests: what changes makes the interpreter learn anew, and that is not measured."""
_ANSWER = Answer(b'{"word":"hello"}')
_HEADERS = Response(200, _ANSWER.body).head(str(uuid4()))
Value = TypeVar("Value")
Swap = tuple[object, str, object]
"""Who has a part, by which name, and what takes its place."""


@dataclass(frozen=True)
class Asked:
    """A request and how it is answered."""

    method: str
    path: str
    status: int = 200
    token: str = ""
    body: bytes = b""

    async def ask(self, app: ASGIApp, times: int, send: Send) -> None:
        """So often, one after the other."""
        scope, body = self._scope(), {"type": "http.request", "body": self.body, "more_body": bool(self.body)}

        async def receive() -> Message:
            return body

        for _ in range(times):
            await app({**scope, "state": {}}, receive, send)

    def _scope(self) -> Scope:
        headers = [(b"host", b"127.0.0.1:8080")]
        if self.token:
            headers.append((b"authorization", f"Bearer {self.token}".encode()))
        if self.body:
            headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.body))]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "extensions": {"http.response.pathsend": {}, "websocket.http.response": {}},
            "http_version": "1.1",
            "server": ("127.0.0.1", "8080"),
            "client": ("127.0.0.1", "43540"),
            "scheme": "http",
            "method": self.method,
            "root_path": "",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "headers": headers,
        }


@dataclass(frozen=True)
class Way:
    """How to ask: with some parts swapped."""

    app: ASGIApp
    telemetry: Telemetry
    asked: Asked
    swaps: Sequence[Swap] = ()

    async def check(self) -> None:
        """Raises AssertionError where the answer is not what it should be."""
        heard: list[Message] = []

        async def hear(message: Message) -> None:
            heard.append(message)

        with _swapped(self.swaps):
            await self.asked.ask(self.app, 1, hear)
        if heard[0]["status"] != self.asked.status:
            raise AssertionError(f"{self.asked.method} {self.asked.path} is answered {heard}")

    async def spent(self) -> float:
        """Processor µs a request, its line in the log included."""
        await asyncio.sleep(0)
        with _swapped(self.swaps):
            await self.asked.ask(self.app, LEARNING, _unheard)
            began = time.process_time()
            await self.asked.ask(self.app, SLICE, _unheard)
            self.telemetry.flush()
            return (time.process_time() - began) / SLICE * 1e6


async def all_ways() -> dict[str, Way]:
    """Requests by name, with no door at all, and without each of the parts."""
    world, limited, overloaded = await _edge(WIDE), await _edge("address=1/3600"), await _edge(WIDE, at_once=0)
    token, app, telemetry = world.token(), world.app, world.app.telemetry
    get = Asked("GET", "/mine", token=token)
    post = Asked("POST", "/things", 201, token, b'{"note":"%s"}' % (b"x" * 189))
    cached = Asked("GET", "/things/7")
    for one in (world, limited):  # it is kept from now on, and the last one before the limit
        await cached.ask(one.app, 1, _unheard)
    refused, shed = Asked("GET", "/mine", 429), Asked("GET", "/mine", 503, overloaded.token())
    forgetful: Swap = (world.authenticator.remembered, "caller", _always(None))
    return {
        NO_DOOR: Way(_no_door, telemetry, get),
        GET: Way(app, telemetry, get),
        POST: Way(app, telemetry, post),
        CACHED: Way(app, telemetry, cached),
        LIMITED: Way(limited.app, limited.app.telemetry, refused),
        OVERLOADED: Way(overloaded.app, overloaded.app.telemetry, shed),
        HEALTH: Way(app, telemetry, Asked("GET", "/healthz")),
        **{part: Way(app, telemetry, get, swaps) for part, swaps in _parts(world).items()},
        VERIFIED: Way(app, telemetry, get, [forgetful]),
        IN_TIME: Way(app, telemetry, post, [(world.app._timer, "wait", _at_once)]),
    }


def costs(spent: Mapping[str, float]) -> Figures:
    """What each request costs in the door, and what each part of it."""
    requests = {name: spent[name] - spent[NO_DOOR] for name in REQUESTS}
    parts = {name: spent[GET] - spent[name] for name in PARTS}
    return {
        **requests,
        **parts,
        VERIFIED: spent[VERIFIED] - spent[REMEMBERED],
        IN_TIME: spent[POST] - spent[IN_TIME],
    }


async def _edge(rates: str, *, at_once: int = AT_ONCE) -> World:
    world = World(rates_from(rates), at_once=at_once)
    cached = offer("shop.get-thing.v1", "GET", "/things/{id}", cache=Cache(seconds=3600))
    mine = offer("shop.get-mine.v1", "GET", "/mine", who="user")
    world.present("shop", mine, cached, offer("shop.add-thing.v1", "POST", "/things", who="user", status=201))
    world.cache.hears(frozenset(), [cached])
    await world.keys.key("first")
    world.lane.request = _soon(_ANSWER)  # type: ignore[method-assign]
    return world


def _parts(world: World) -> dict[str, list[Swap]]:
    """What does nothing in the place of each."""
    return {
        REMEMBERED: [(world.authenticator, "caller", _soon(Caller(id=uuid4(), session=uuid4())))],
        LIMITS: [(world.limits, "let_in", _always("127.0.0.1")), (world.limits, "count", _soon(()))],
        TOLD: [(world.app.telemetry, "note", _always(None))],
        ROUTING: [(world.routes.table, "find", _always(world.routes.table.find("GET", b"/mine")))],
        TRACE: [(reading, "traceparent", _always(f"00-{'1' * 32}-{'2' * 16}-01"))],
        HEAD: [(Response, "head", _always(_HEADERS))],
        CAPACITY: [(world.capacity, "take", _always(None)), (world.capacity, "give_back", _always(None))],
        ID: [(uuid_utils, "uuid7", _always(str(uuid4())))],
    }


@contextmanager
def _swapped(swaps: Sequence[Swap]) -> Iterator[None]:
    with ExitStack() as stack:
        for place, name, instead in swaps:
            stack.enter_context(patch.object(place, name, instead))
        yield


def _always(value: Value) -> Callable[..., Value]:
    return lambda *_, **__: value


def _soon(value: Value) -> Callable[..., Coroutine[Any, Any, Value]]:
    async def soon(*_: object) -> Value:
        return value

    return soon


async def _at_once(awaited: Awaitable[Value], *, within: float) -> Value:
    return await awaited


async def _no_door(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER.body})


async def _unheard(message: Message) -> None:
    pass


async def _measure(within: float) -> Figures:
    ways = await all_ways()
    for way in ways.values():
        await way.check()
    gc.collect()
    gc.freeze()  # as the edge does
    found: list[Figures] = []
    end = time.monotonic() + within
    while not found or time.monotonic() < end:
        names = list(ways) if len(found) % 2 else list(reversed(ways))
        found.append(costs({name: await ways[name].spent() for name in names}))
    return {name: median(figures[name] for figures in found) for name in found[0]}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "door.log").open("w") as log, redirect_stdout(log):
        configure_logging("edge")
        figures = uvloop.run(_measure(seconds()))
    print(json.dumps(figures))
