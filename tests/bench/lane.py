"""The request lane alone

One process asks, one answers, 64 in flight, no HTTP. Both ends read and write JSON, and every answer is compared with
its question; requests are acknowledged after the reply, the sockets have no Nagle delay, the prefetch is 64.
"""

import json
import sys
from contextlib import ExitStack
from functools import partial

from tests.bench.ground import Ground, ground, one_shot
from tests.bench.node import peer
from tests.bench.rounds import Figures, Plan, Run, Table, alternate, compare

OURS, AMQPLIB = "Hedgerow", "Node amqplib"
CARRIERS = {OURS: "wire", "Hedgerow, HEDGEROW_LANE=aio-pika": "aio-pika"}
RATE = "requests/s"


def measure(plan: Plan) -> list[Table]:
    """Ours against plain aio-pika, FastStream's `request()` and Node's amqplib."""
    commands = {
        **dict.fromkeys(CARRIERS, _python("lane_hedgerow")),
        AMQPLIB: peer("lane.mjs"),
        "aio-pika": _python("lane_aiopika"),
        "FastStream request()": _python("lane_faststream"),
    }
    with ground("--servers-only") as here, ExitStack() as workers:
        sides = {name: _side(here, workers, f"lane-{at}", name, commands[name]) for at, name in enumerate(commands)}
        table = Table("Request/reply over RabbitMQ, 64 in flight", alternate(sides, plan))
    ours, theirs = (table.figure(side, RATE) for side in (OURS, AMQPLIB))
    return [table.saying(compare(ours, theirs, at_least=1.5, what="Our lane against Node's amqplib"))]


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.bench.sides.{module}")


def _side(here: Ground, workers: ExitStack, place: str, name: str, command: tuple[str, ...]) -> Run:
    told = {"BENCH_AMQP": here.vhost(place), "HEDGEROW_LANE": CARRIERS.get(name, "")}
    workers.enter_context(here.running(place, *command, "worker", told=told))
    return partial(_ask, command, told)


def _ask(command: tuple[str, ...], told: dict[str, str], seconds: float) -> Figures:
    printed = one_shot(*command, "client", within=seconds + 60, **told, BENCH_SECONDS=str(seconds))
    figures: Figures = json.loads(printed.splitlines()[-1])
    return figures
