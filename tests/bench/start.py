"""Start and memory

A start is timed from `up` to ready, with everything installed; "again" finds the contents of the broker and the
database that the first start made. Memory is taken five seconds after the start, of a process and its children; RSS
counts what these share several times, USS not at all.
"""

import time

from infra.launcher.state import any_free_port
from tests.bench.ground import Ground, ground
from tests.bench.rounds import Figures, Plan, Table, spreads, verdict

SETTLE_SECONDS = 5.0
SERVERS = ("rabbitmq", "epmd", "postgresql")


def measure(plan: Plan) -> list[Table]:
    """Both tables."""
    starts: dict[str, list[Figures]] = {"first": [], "again": []}
    memories: list[dict[str, Figures]] = []
    for number in range(plan.rounds):
        for kind, found in starts.items():
            plan.say(f"start {number + 1} of {plan.rounds}: {kind}")
            with ground(port=any_free_port(), fresh=kind == "first") as here:
                found.append(_start(here))
                if kind == "again":
                    time.sleep(SETTLE_SECONDS)
                    memories.append(_memory(here))
    return [_started(starts), _remembered(memories)]


def _start(here: Ground) -> Figures:
    broker = here.step_took("RabbitMQ is ready")
    return {"s to ready": here.took, "of these the broker's boot": broker, "the rest": here.took - broker}


def _started(starts: dict[str, list[Figures]]) -> Table:
    table = Table("Start-up", {name: spreads(found) for name, found in starts.items()})
    rest = table.figure("again", "the rest")
    return table.saying(f"Wanted: the broker's boot + 6 s; it is + {rest:.1f} s: {verdict(rest <= 6)}.")


def _memory(here: Ground) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    for name in here.processes:
        memory = [process.memory_full_info() for process in here.family(name)]
        found[name] = {"RSS MB": sum(it.rss for it in memory) / 1e6, "USS MB": sum(it.uss for it in memory) / 1e6}
    return found


def _remembered(memories: list[dict[str, Figures]]) -> Table:
    rows = {name: spreads([memory[name] for memory in memories]) for name in memories[0]}
    table = Table("Memory of an idle platform", rows)
    most = max(table.figure(name, "RSS MB") for name in rows if name not in SERVERS)
    return table.saying(
        f"Wanted: a service's process under 110 MB; the largest has {most:.0f} MB: {verdict(most < 110)}."
    )
