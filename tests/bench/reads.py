"""Reading from the database

GET /products/{sku}, 64 connections: the whole platform (edge, broker, catalogue, PostgreSQL; nothing is cached) against
one process of Starlette and asyncpg on the same tables, without authentication, log lines or counters. And the same
from the edge's cache, against Starlette with an answer that is a constant.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import httpx

from infra.launcher.failure import Failure
from infra.launcher.state import any_free_port
from tests.bench.ground import Ground, ground
from tests.bench.rounds import Figures, Plan, Table, alternate, compare
from tests.bench.wrk import load

OURS, STARLETTE = "Hedgerow", "Starlette + asyncpg"
CACHED, CONSTANT = "Hedgerow, from the edge's cache", "Starlette, a constant"
RATE = "requests/s"
_PATH = "/products/SPADE-01"


def measure(plan: Plan) -> list[Table]:
    """Read one product again and again."""
    with ground(port=any_free_port()) as here, sides(here) as urls:
        urls[CACHED], urls[CONSTANT] = urls[OURS], urls[STARLETTE].replace(_PATH, "/constant")
        runs = {name: partial(_load, url, anew=name == OURS) for name, url in urls.items()}
        table = Table("GET /products/{sku} from PostgreSQL", alternate(runs, plan))
    ours, theirs, cached, constant = (table.figure(side, RATE) for side in (OURS, STARLETTE, CACHED, CONSTANT))
    verdicts = (
        compare(ours, theirs, at_least=0.6, what="The platform against one process"),
        compare(cached, constant, at_least=0.6, what="The edge's cache against a constant"),
    )
    return [table.saying(*verdicts)]


@contextmanager
def sides(here: Ground) -> Iterator[dict[str, str]]:
    """The URL of one product at each side. Raises `Failure` unless they say the same."""
    port = any_free_port()
    told = {"BENCH_DATABASE": str(here.runtime["database"]), "BENCH_PORT": str(port)}
    command = (sys.executable, "-m", "tests.bench.sides.reads_starlette")
    with here.running("reads-starlette", *command, told=told, listens_on=port):
        urls = {OURS: f"{here.runtime['edge']}{_PATH}", STARLETTE: f"http://127.0.0.1:{port}{_PATH}"}
        ours, theirs = (httpx.get(url, trust_env=False).raise_for_status().json() for url in urls.values())
        if ours != theirs:
            raise Failure(f"The sides do not say the same: {ours} and {theirs}")
        yield urls


def _load(url: str, seconds: float, *, anew: bool) -> Figures:
    return load(url, seconds=seconds, anew=anew)
