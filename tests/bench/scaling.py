"""More instances

Throughput against the number of worker instances behind one edge, 64 connections: the broker's queue is the balancer.
A constant answer, and one that costs a millisecond of a processor.
"""

from contextlib import ExitStack
from functools import partial

from tests.bench.edge import Front, hedgerow
from tests.bench.ground import ground
from tests.bench.rounds import Figures, Plan, Table, alternate
from tests.bench.wrk import load

INSTANCES = (1, 2, 4)
_ROUTES = {"bare": "constant", "toil": "1 ms of work"}


def measure(plan: Plan) -> list[Table]:
    """One table."""
    with ground("--servers-only") as here, ExitStack() as stack:
        edges = {number: stack.enter_context(hedgerow(here, "bare", workers=number)) for number in INSTANCES}
        for edge in edges.values():
            edge.check()
        sides = {_name(number): partial(_load, edge) for number, edge in edges.items()}
        measured = alternate(sides, plan)
    return [Table("Throughput by worker instances", measured)]


def _name(instances: int) -> str:
    return f"{instances} instance{'s' * (instances > 1)}"


def _load(edge: Front, seconds: float) -> Figures:
    found: dict[str, float] = {}
    for route, name in _ROUTES.items():
        figures = load(f"{edge.url.rpartition('/')[0]}/{route}", seconds=seconds)
        found |= {f"{name}: requests/s": figures["requests/s"], f"{name}: p99 ms": figures["p99 ms"]}
    return found
