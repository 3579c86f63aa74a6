"""The whole edge

From HTTP through RabbitMQ to a handler that answers a constant, and back: two processes a side, 64 connections. Bare,
nothing is verified, counted or logged by the peers (ours counts and logs always). In full, each side verifies an
ES256 token (and remembers the verified), counts in both processes, and writes a log line a request to a file. The
peers have no Nagle delay, a prefetch of 200 and acknowledged requests; Moleculer is measured with its own balancer and
with the broker's queue as balancer; NestJS takes replies by direct reply-to, as it always does.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal
from uuid import uuid4

import httpx
import psutil

from infra.launcher import services
from infra.launcher.failure import Failure
from infra.launcher.leftovers import wait_until
from infra.launcher.provision import Servers, provision_login, provision_platform
from infra.launcher.signing import signing_key
from infra.launcher.state import any_free_port
from tests.bench.costs import Meter, Parts
from tests.bench.ground import Ground, ground, running
from tests.bench.node import peer
from tests.bench.rounds import Figures, Plan, Table, alternate, compare
from tests.bench.wrk import WARM_UP_SECONDS, load
from tests.support.platform import WIDE
from workers.users.tokens import Signer

Dress = Literal["bare", "full"]
OURS, LIMIT = "Hedgerow", "our edge alone, /healthz"
RATE, P99 = "requests/s", "p99 ms"
PARTS = ("front's core-µs", "worker's core-µs", "broker's core-µs")
PEERS = {
    "moleculer-web + Moleculer": ("moleculer/moleculer.mjs", "builtin"),
    "the same, the broker balances": ("moleculer/moleculer.mjs", "queue"),
    "Fastify + NestJS": ("nestjs.mjs",),
}


@dataclass(frozen=True)
class Front:
    """One side, where it answers, who may ask it, and whose processor time an answer costs."""

    url: str
    signer: Signer | None = None
    parts: Parts = field(default_factory=dict)

    def token(self) -> str | None:
        """A fresh access token, where one is wanted."""
        if self.signer is None:
            return None
        return self.signer.access_token(uuid4(), [], session=uuid4(), now=datetime.now(UTC))

    def load(self, seconds: float) -> Figures:
        """Closed loop."""
        meter = Meter(self.parts)
        figures = load(self.url, seconds=seconds, token=self.token())
        return {**figures, **meter.each(figures[RATE] * (max(1, round(seconds)) + WARM_UP_SECONDS))}

    def check(self) -> None:
        """Raises `Failure` unless it answers what it should to whom it should."""
        token = self.token()
        if not wait_until(partial(self._says, 200, token), within=30):
            raise Failure(f"{self.url} does not answer")
        if token and not (self._says(401, None) and self._says(401, token[:-8] + "AAAAAAAA")):
            raise Failure(f"{self.url} does not verify tokens")

    def _says(self, status: int, token: str | None) -> bool:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            answer = httpx.get(self.url, headers=headers, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == status and (status != 200 or answer.json() == {"word": "hello"})


def measure(plan: Plan) -> list[Table]:
    """Ours against moleculer-web with Moleculer, and Fastify with NestJS."""
    with ground("--servers-only") as here:
        return [_compare(here, "bare", plan), _compare(here, "full", plan)]


def _compare(here: Ground, dress: Dress, plan: Plan) -> Table:
    with fronts(here, dress) as sides:
        limit = Front(sides[OURS].url.rpartition("/")[0] + "/healthz")
        measured = alternate({**{name: side.load for name, side in sides.items()}, LIMIT: limit.load}, plan)
    name = {"bare": "bare peers", "full": "token, counters and log line everywhere"}[dress]
    table = Table(f"HTTP, RabbitMQ and back: {name}", measured)
    ours, theirs = table.figure(OURS, RATE), max(table.figure(side, RATE) for side in PEERS)
    our_p99, their_p99 = table.figure(OURS, P99), min(table.figure(side, P99) for side in PEERS)
    target = {"bare": 1.0, "full": 1.5}[dress]
    return table.saying(
        compare(ours, theirs, at_least=target, what="Our rate against the fastest peer's"),
        compare(their_p99, our_p99, at_least=1.0, what="The best peer's p99 against ours"),
        _floor(table, target * theirs),
    )


def _floor(table: Table, wanted: float) -> str:
    """What the machine can carry, and what would have to be spared."""
    front, worker, broker = (table.figure(OURS, part) for part in PARTS)
    cores = os.cpu_count() or 1
    return (
        f"A request costs our edge {front:.0f} core-µs, the worker {worker:.0f}, the broker {broker:.0f}:"
        f" {cores} cores are full at {cores * 1e6 / (front + worker + broker):,.0f}/s, and the load comes from the same"
        f" ones. At the wanted {wanted:,.0f}/s a request could cost {cores * 1e6 / wanted:.0f} in all."
    )


@contextmanager
def fronts(here: Ground, dress: Dress) -> Iterator[dict[str, Front]]:
    """All sides, up and checked."""
    with ExitStack() as stack:
        signer = Signer(signing_key(here.state).read_bytes())
        sides = {OURS: stack.enter_context(hedgerow(here, dress))}
        for name, (script, *more) in PEERS.items():
            sides[name] = stack.enter_context(_peer(here, dress, signer, script, *more))
        for side in sides.values():
            side.check()
        yield sides


@contextmanager
def hedgerow(here: Ground, route: str, *, workers: int = 1) -> Iterator[Front]:
    """Our edge, as the launcher starts it, before so many instances of the bench's service."""
    servers = Servers(
        here.vhost(f"hedgerow-{route}-{workers}"), here.runtime["rabbitmq_management"], here.runtime["database"]
    )
    provision_platform(servers)
    key, port = signing_key(here.state), any_free_port()
    edge = services.edge(here.state, servers, port)
    environment = {
        "HEDGEROW_AMQP_URL": provision_login(here.state, servers, "bench"),
        "HEDGEROW_SIGNING_KEY_FILE": str(key),
        "PYTHONUNBUFFERED": "1",
    }
    with ExitStack() as stack:
        command = (sys.executable, "-m", "tests.bench.sides.service")
        names = (f"hedgerow-{route}-worker-{number}" for number in range(workers))
        pids = [stack.enter_context(here.running(name, *command, told=environment)) for name in names]
        told = {**edge.environment, **here.passed_on, "HEDGEROW_LIMITS": WIDE, "HEDGEROW_KEYS_LOGIN": "bench"}
        log = here.log(f"hedgerow-{route}-edge")
        front = stack.enter_context(running(replace(edge, environment=told, log=log, listens_on=port)))
        signer = Signer(key.read_bytes()) if route == "full" else None
        yield Front(f"http://127.0.0.1:{port}/{route}", signer, _parts(here, front.pid, *pids))


@contextmanager
def _peer(here: Ground, dress: Dress, signer: Signer, script: str, *more: str) -> Iterator[Front]:
    name, port = "-".join((Path(script).stem, *more, dress)), any_free_port()
    jwk = signer.keys().keys[0].model_dump_json(include={"kty", "crv", "x", "y"})
    environment = {"BENCH_AMQP": here.vhost(name), "BENCH_PORT": str(port), "BENCH_JWK": jwk, "NODE_ENV": "production"}
    with (
        here.running(f"{name}-worker", *peer(script, "worker", dress, *more), told=environment) as worker,
        here.running(f"{name}-front", *peer(script, "front", dress, *more), listens_on=port, told=environment) as front,
    ):
        yield Front(f"http://127.0.0.1:{port}/hello", signer if dress == "full" else None, _parts(here, front, worker))


def _parts(here: Ground, front: int, *workers: int) -> Parts:
    processes = ([psutil.Process(front)], [psutil.Process(pid) for pid in workers], here.family("rabbitmq"))
    return dict(zip(PARTS, processes, strict=True))
