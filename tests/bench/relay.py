"""The outbox relay

Throughput: a full outbox, four events of each aggregate, is carried to the history and to one subscriber's quorum
queue; the next event of an aggregate goes when the one before is confirmed. Latency: from the commit of one event on an
idle relay to its delivery to a consumer, over 50 of them.
"""

import asyncio
import json
import sys
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.bench.ground import Ground, ground, one_shot
from tests.bench.rounds import Figures, Plan, Table, alternate, verdict

OURS = "Hedgerow"
CARRIERS = {OURS: "wire", "Hedgerow, HEDGEROW_LANE=aio-pika": "aio-pika"}
COMMAND = (sys.executable, "-m", "tests.bench.sides.relay")


def measure(plan: Plan) -> list[Table]:
    """Both carriers; the targets are for each."""
    with ground("--servers-only") as here:
        sides = {name: partial(_relay, here, f"relay-{lane}", lane) for name, lane in CARRIERS.items()}
        table = Table("Events from the outbox", alternate(sides, plan))
    rates = {name: table.figure(name, "events/s, confirmed") for name in CARRIERS}
    latency = table.figure(OURS, "commit to delivery, p50 ms")
    wanted = zip(rates.items(), (5_000, 2_000), strict=True)
    said = (f"{name}: {rate:,.0f}/s, wanted {least:,}: {verdict(rate >= least)}." for (name, rate), least in wanted)
    return [
        table.saying(
            *said,
            f"Wanted: delivered under 5 ms after the commit; it is {latency:.1f} ms: {verdict(latency < 5)}.",
        )
    ]


def _relay(here: Ground, place: str, lane: str, seconds: float) -> Figures:
    told = {"BENCH_AMQP": here.vhost(place), "BENCH_DATABASE": asyncio.run(_database(here)), "HEDGEROW_LANE": lane}
    printed = one_shot(*COMMAND, within=seconds * 15 + 120, **told, BENCH_SECONDS=str(seconds))
    figures: Figures = json.loads(printed.splitlines()[-1])
    return figures


async def _database(here: Ground) -> str:
    """The address of an empty database."""
    server = str(here.runtime["database"])
    connection = await asyncpg.connect(server)
    try:
        await connection.execute("DROP DATABASE IF EXISTS bench_relay")
        await connection.execute("CREATE DATABASE bench_relay")
    finally:
        await connection.close()
    return urlunsplit(urlsplit(server)._replace(path="/bench_relay"))
