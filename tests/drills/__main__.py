"""`just drill`: hurt a platform while it works, and check its books.

Without a fault that is named, one drill with workers killed; with `--all` every fault alone, then all of them together.
"""

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from tests.drills.drill import Plan, drill
from tests.drills.faults import Fault
from tests.drills.faults.every import FAULTS
from tests.support.platform import running_platform

FIFTY, BUYERS = 50, 200
SETTINGS = {"HEDGEROW_PAYMENT_TIMEOUT": "30", "HEDGEROW_CUSTOMER_TIMEOUT": "40"}


def main() -> int:
    """Drill; 1 when an invariant did not hold or a fault touched nothing."""
    asked = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    failed = 0
    for seed, faults in _runs(asked):
        with (
            tempfile.TemporaryDirectory(prefix="drill-") as folder,
            running_platform(Path(folder), None, settings=SETTINGS) as platform,
        ):
            plan = Plan(seed, faults, orders=asked.orders, scarce=FIFTY, buyers_of_it=min(BUYERS, asked.orders))
            report = asyncio.run(drill(platform, plan, say=_say))
        print(report, flush=True)
        if not report.holds:
            failed += 1
            names = " ".join(f"--fault {fault.name}" for fault in faults)
            print(f"  to run it again: just drill {names} --seed {seed} --orders {asked.orders}", flush=True)
    return 1 if failed else 0


def _runs(asked: argparse.Namespace) -> Iterator[tuple[int, Sequence[Fault]]]:
    """Which faults, with which seed: those that were named together; or every one alone, then all."""
    chosen = [[FAULTS[name] for name in asked.fault or ["workers"]]]
    if asked.all:
        chosen = [[fault] for fault in FAULTS.values()] + [list(FAULTS.values())]
    for faults in chosen:
        for run in range(asked.runs):
            yield asked.seed + run, faults


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="just drill", description="Hurt a platform, and check its books.")
    parser.add_argument("--all", action="store_true", help="every fault alone, then all of them together")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="this one (may be repeated: together)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="what chance does (random)")
    parser.add_argument("--runs", type=int, default=1, help="how often, with one seed after the other (1)")
    parser.add_argument("--orders", type=int, default=300, help="how many orders at least (300)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
