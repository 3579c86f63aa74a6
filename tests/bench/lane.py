"""The request lane alone

One process asks, one answers, 64 in flight, no HTTP. Both ends read and write JSON, and every answer is compared with
its question; requests are acknowledged after the reply, the sockets have no Nagle delay, the prefetch is 64. The
core-µs are processor time for one round trip: of the broker, and of the process that answers.

Ours asks more of the broker than amqplib's program does: an expiration, a table of headers, `mandatory`, and a reply
through an exchange with permissions of its own instead of the default one. Between services, requests go through a
topic exchange, the only type that knows rights by routing key: that is the most expensive of all.
"""

import json
import os
import sys
from contextlib import ExitStack
from functools import partial

import psutil

from broker.topology import FRONT_DOOR, REQUESTS
from tests.bench.costs import Meter
from tests.bench.ground import Ground, ground, one_shot
from tests.bench.node import peer
from tests.bench.rounds import Figures, Plan, Run, Table, alternate, compare
from tests.bench.sides.closed_loop import WARM_UP_SECONDS

OURS, AMQPLIB = "Hedgerow, as the edge asks", "Node amqplib"
WAYS = {
    OURS: {"HEDGEROW_LANE": "wire", "BENCH_EXCHANGE": FRONT_DOOR},
    "Hedgerow, as services ask each other": {"HEDGEROW_LANE": "wire", "BENCH_EXCHANGE": REQUESTS},
    "Hedgerow, HEDGEROW_LANE=aio-pika": {"HEDGEROW_LANE": "aio-pika", "BENCH_EXCHANGE": FRONT_DOOR},
}
RATE = "requests/s"
BROKER, ANSWERER = "broker's core-µs", "answerer's core-µs"


def measure(plan: Plan) -> list[Table]:
    """Ours against plain aio-pika, FastStream's `request()` and Node's amqplib."""
    commands = {
        **dict.fromkeys(WAYS, _python("lane_hedgerow")),
        AMQPLIB: peer("lane.mjs"),
        "aio-pika": _python("lane_aiopika"),
        "FastStream request()": _python("lane_faststream"),
    }
    with ground("--servers-only") as here, ExitStack() as workers:
        sides = {name: _side(here, workers, f"lane-{at}", name, commands[name]) for at, name in enumerate(commands)}
        table = Table("Request/reply over RabbitMQ, 64 in flight", alternate(sides, plan))
    ours, theirs = (table.figure(side, RATE) for side in (OURS, AMQPLIB))
    broker, answerer = (table.figure(OURS, part) for part in (BROKER, ANSWERER))
    cores = os.cpu_count() or 1
    return [
        table.saying(
            compare(ours, theirs, at_least=1.5, what="Our lane against Node's amqplib"),
            f"Our round trip costs the broker {broker:.0f} core-µs, who answers {answerer:.0f}, who asks about as much:"
            f" {cores} cores are full at {cores * 1e6 / (broker + 2 * answerer):,.0f}/s, and would be at"
            f" {cores * 1e6 / broker:,.0f}/s if both ends cost nothing.",
        )
    ]


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.bench.sides.{module}")


def _side(here: Ground, workers: ExitStack, place: str, name: str, command: tuple[str, ...]) -> Run:
    told = {"BENCH_AMQP": here.vhost(place), **WAYS.get(name, {})}
    worker = workers.enter_context(here.running(place, *command, "worker", told=told))
    return partial(_ask, here, psutil.Process(worker), command, told)


def _ask(
    here: Ground, worker: psutil.Process, command: tuple[str, ...], told: dict[str, str], seconds: float
) -> Figures:
    meter = Meter({BROKER: here.family("rabbitmq"), ANSWERER: [worker]})
    printed = one_shot(*command, "client", within=seconds + 60, **told, BENCH_SECONDS=str(seconds))
    figures: Figures = json.loads(printed.splitlines()[-1])
    return {**figures, **meter.each(figures[RATE] * (seconds + WARM_UP_SECONDS))}
