"""Latency at a fixed rate

500 requests a second leave whatever the server does (open loop), and latency counts from when a request was due. The
constant answer with a token, counters and a log line at every side; then one product, read from PostgreSQL (no kept
answer wanted).
"""

from functools import partial

from infra.launcher.state import any_free_port
from tests.bench import reads
from tests.bench.edge import OURS, P99, PEERS, Front, fronts
from tests.bench.ground import ground
from tests.bench.open_loop import open_loop
from tests.bench.rounds import Figures, Plan, Table, alternate, compare

RATE = 500


def measure(plan: Plan) -> list[Table]:
    """Both tables."""
    return [_constant(plan), _product(plan)]


def _constant(plan: Plan) -> Table:
    with ground("--servers-only") as here, fronts(here, "full") as sides:
        measured = alternate({name: partial(_front, side) for name, side in sides.items()}, plan)
    table = Table(f"Latency at {RATE} requests/s: a constant, with a token", measured)
    theirs = min(table.figure(side, P99) for side in PEERS)
    return table.saying(compare(theirs, table.figure(OURS, P99), at_least=1.0, what="The best peer's p99 against ours"))


def _product(plan: Plan) -> Table:
    with ground(port=any_free_port()) as here, reads.sides(here) as urls:
        measured = alternate({name: partial(_url, url) for name, url in urls.items()}, plan)
    return Table(f"Latency at {RATE} requests/s: GET /products/{{sku}}", measured)


def _front(side: Front, seconds: float) -> Figures:
    return open_loop(side.url, rate=RATE, seconds=seconds, token=side.token())


def _url(url: str, seconds: float) -> Figures:
    return open_loop(url, rate=RATE, seconds=seconds, anew=True)
