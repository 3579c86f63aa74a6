"""What each part of the edge costs

First the door, in a process of its own and without a network: real parts, an ES256 token, rates that nobody comes near,
a line in a file for each request, and a lane that answers at once. A figure is processor time a request, without that
of who asks. What a part costs is the difference to the same door with something in its place that does nothing (to be
called still costs a tenth of a µs); each way is asked 256 times in turn, and a round takes five times as long as below.

Then the whole edge under load, as in "token, counters and log line everywhere" above, beside `/healthz` of the same
process, which never comes to the gateway. Measured are the processes under both loads, and the door as before. What
`/healthz` costs the process, less what it costs in the door, is the HTTP server with its event loop; the asking end of
the lane is the remainder, and with it whatever costs more when both cores are full.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping

from tests.bench.edge import LIMIT, OURS, PEERS, RATE, Front, fronts
from tests.bench.edge import PARTS as PROCESSES
from tests.bench.ground import ground, one_shot
from tests.bench.rounds import Figures, Plan, Spread, Table, alternate
from tests.bench.sides.door import GET, HEALTH, IN_TIME, PARTS, REMEMBERED, REQUESTS, VERIFIED

COST = "core-µs a request"
LONGER, WANTED = 5, 1.5
_FRONT, _WORKER, _BROKER = PROCESSES
_SERVER, _DOOR, _LANE = "of it the HTTP server and the event loop", f"of it the door: {GET}", "of it the rest: the lane"
Rows = Mapping[str, Mapping[str, Spread]]


def measure(plan: Plan) -> list[Table]:
    """The door by its parts, and the edge by what the door is of it."""
    costs = alternate({"the door": _in_the_door}, plan)["the door"]
    return [
        Table("Requests in the door", _column(costs, REQUESTS)),
        _parts(costs),
        whole(costs, _under_load(plan)),
    ]


def _in_the_door(seconds: float) -> Figures:
    within = seconds * LONGER
    command = (sys.executable, "-m", "tests.bench.sides.door")
    figures: Figures = json.loads(one_shot(*command, within=within + 60, BENCH_SECONDS=str(within)).splitlines()[-1])
    return figures


def _under_load(plan: Plan) -> Rows:
    with ground("--servers-only") as here, fronts(here, "full") as sides:
        health = sides[OURS].url.rpartition("/")[0] + "/healthz"
        alone = Front(health, parts={_FRONT: sides[OURS].parts[_FRONT]})
        return alternate({**{name: side.load for name, side in sides.items()}, LIMIT: alone.load}, plan)


def _parts(costs: Mapping[str, Spread]) -> Table:
    """Of the GET, and two that it does not have."""
    rest = costs[GET].median - sum(costs[part].median for part in PARTS)
    rows = {**_column(costs, PARTS), "the door and the gateway around them": {COST: Spread((rest,))}}
    return Table(f"Of these: {GET}", {**rows, **_column(costs, (VERIFIED, IN_TIME))}).saying(
        f"A token that was verified before costs {costs[REMEMBERED].median:.1f} µs instead of"
        f" {costs[VERIFIED].median:.0f}.",
    )


def whole(costs: Mapping[str, Spread], loaded: Rows) -> Table:
    """Of what was measured in the door and under load."""
    ours = loaded[OURS]
    server = loaded[LIMIT][_FRONT].median - costs[HEALTH].median
    lane = ours[_FRONT].median - server - costs[GET].median
    rows = {
        "the edge, under load": ours[_FRONT],
        _SERVER: Spread((server,)),
        _DOOR: costs[GET],
        _LANE: Spread((lane,)),
        "the worker": ours[_WORKER],
        "the broker": ours[_BROKER],
    }
    table = Table("A request from HTTP through RabbitMQ and back", {name: {COST: row} for name, row in rows.items()})
    return table.saying(_floor(loaded, door=costs[GET].median, lane=lane))


def _floor(loaded: Rows, *, door: float, lane: float) -> str:
    """How many requests the machine could carry if the door cost nothing."""
    cores = os.cpu_count() or 1
    today = sum(loaded[OURS][process].median for process in PROCESSES)
    others = cores * 1e6 / loaded[OURS][RATE].median - today
    wanted = WANTED * max(loaded[peer][RATE].median for peer in PEERS)
    alone, beside, least = (cores * 1e6 / (today - door + more) for more in (0, others, others - lane))
    return (
        f"If the door cost nothing, a request would cost {today - door:.0f} core-µs instead of {today:.0f}:"
        f" {cores} cores would be full at {alone:,.0f}/s, at {beside:,.0f}/s with the {others:.0f} core-µs that the"
        f" load and all else takes of them, and at {least:,.0f}/s if the lane's asking end cost nothing, too. Wanted:"
        f" {WANTED} × the fastest peer, {wanted:,.0f}/s: {'within' if beside >= wanted else 'out of'} the door's reach."
    )


def _column(costs: Mapping[str, Spread], names: Iterable[str]) -> Rows:
    return {name: {COST: costs[name]} for name in names}
