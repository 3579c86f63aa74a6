"""`just drill`: hurt a platform while it works, and check its books.

Where no fault is named, workers are killed; with `--all` every fault rages alone, and then together all those that
leave the servers standing. With `--without` the platform lacks a mechanism, and the drill must find that broken which
the mechanism protects.
"""

import argparse
import asyncio
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from tests.drills.drill import Plan, Report, drill
from tests.drills.faults import Fault
from tests.drills.faults.every import FAULTS
from tests.drills.ground import ground
from tests.drills.weakened import MECHANISMS, PROTECTS

FIFTY, BUYERS = 50, 200


def main() -> int:
    """Drill; 1 when an invariant did not hold (or, without its mechanism, held), or a fault touched nothing."""
    asked = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    failed = 0
    for plan in _plans(asked):
        with ground(plan.without) as platform:
            report = asyncio.run(drill(platform, plan, say=_say))
        print(report, flush=True)
        if not _is_as_it_should_be(report):
            failed += 1
            print(f"  to run it again: {_again(plan)}", flush=True)
    return 1 if failed else 0


def _plans(asked: argparse.Namespace) -> Iterator[Plan]:
    for without in list(MECHANISMS) if asked.without == "each" else [asked.without]:
        for faults in _faults(asked):
            for run in range(asked.runs):
                yield Plan(
                    asked.seed + run,
                    faults,
                    orders=asked.orders,
                    at_most=asked.orders if without else 10 * asked.orders,
                    buyers_of_it=min(BUYERS, asked.orders),
                    scarce=FIFTY,
                    without=without,
                )


def _faults(asked: argparse.Namespace) -> list[Sequence[Fault]]:
    if asked.all:
        return [*([fault] for fault in FAULTS.values()), [one for one in FAULTS.values() if not one.needs_own_servers]]
    usual = ["workers"] if asked.without is None else ["workers", "copied-messages", "reordered-messages"]
    return [[FAULTS[name] for name in asked.fault or usual]]


def _is_as_it_should_be(report: Report) -> bool:
    """All holds; without a mechanism, what it protects does not."""
    if report.plan.without is None:
        return report.holds
    broken = [invariant for invariant, wrong in report.verdicts.items() if wrong]
    return any(invariant.startswith(PROTECTS[report.plan.without]) for invariant in broken)


def _again(plan: Plan) -> str:
    faults = " ".join(f"--fault {fault.name}" for fault in plan.faults)
    without = f" --without {plan.without}" if plan.without else ""
    return f"just drill {faults}{without} --seed {plan.seed} --orders {plan.orders}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="just drill", description="Hurt a platform, and check its books.")
    parser.add_argument("--all", action="store_true", help="every fault alone, then many together")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="this one (may be repeated: together)")
    parser.add_argument("--without", choices=[*MECHANISMS, "each"], help="drill the drill: leave this mechanism out")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="what chance does (random)")
    parser.add_argument("--runs", type=int, default=1, help="how often, with one seed after the other (1)")
    parser.add_argument("--orders", type=int, default=300, help="how many orders at least (300)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
