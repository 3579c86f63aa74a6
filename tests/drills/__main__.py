"""`just drill`: hurt a platform while it works, and check its books.

Where no fault is named, workers are killed. With `--all` every fault rages alone, each crash point is tried, a product
is sold out again and again, and each mechanism is left out in turn; that takes hours. With `--without` the platform
lacks a mechanism, and the drill must find that broken which the mechanism protects.
"""

import argparse
import logging
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

from tests.drills import kept, page
from tests.drills.drill import Plan, Report
from tests.drills.faults.every import FAULTS
from tests.drills.plans import again, asked, every, sell_out
from tests.drills.running import is_as_it_should_be, run
from tests.drills.weakened import MECHANISMS

SEED = 1
"""Of the runs that docs/reliability.md tells of: the first one's."""


def main() -> int:
    """Drill; 1 when an invariant did not hold (or, without its mechanism, held), or a fault touched nothing."""
    arguments = _arguments()
    logging.disable()  # our own clients complain, too, of what is done to the servers
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    plans = list(_plans(arguments))
    reports: list[Report] = []
    began = time.monotonic()
    try:
        for report in run(_due(plans) if arguments.resume else plans, _say):
            kept.keep(report)
            reports.append(report)
            print(report, flush=True)
            if not is_as_it_should_be(report):
                print(f"  to run it again: {again(report.plan)}", flush=True)
            _say(_progress(reports, plans, time.monotonic() - began))
    except KeyboardInterrupt:
        return 130
    finally:
        if arguments.write and reports:
            page.write(SEED)
    failed = [report for report in reports if not is_as_it_should_be(report)]
    for report in failed:
        print(f"failed: {again(report.plan)}")
    return 1 if failed else 0


def _plans(arguments: argparse.Namespace) -> Sequence[Plan]:
    if arguments.all:
        return list(every(arguments.seed))
    if arguments.sell_out:
        return [sell_out(arguments.seed + number) for number in range(arguments.runs)]
    how = {"seed": arguments.seed, "runs": arguments.runs, "orders": arguments.orders}
    together = [[name] for name in arguments.fault] if arguments.alone else [arguments.fault]
    return [plan for names in together for plan in asked(names, arguments.without, **how)]


def _due(plans: Iterable[Plan]) -> Iterator[Plan]:
    """Those of which it is not known, when their turn comes, that all was as it should be."""
    for plan in plans:
        if not any(is_as_it_should_be(found.report) for found in kept.kept([plan])):
            yield plan


def _progress(reports: Sequence[Report], plans: Sequence[Plan], seconds: float) -> str:
    wrong = sum(not is_as_it_should_be(report) for report in reports)
    left = seconds / len(reports) * max(0, len(plans) - len(reports))
    last = f"[{len(reports)}/{len(plans)}] {reports[-1].seconds:.0f} s"
    return f"{last}; {wrong} went wrong so far, {seconds / 60:.0f} min gone, about {left / 60:.0f} min to go"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="just drill", description="Hurt a platform, and check its books.")
    parser.add_argument("--all", action="store_true", help="everything, for the page docs/reliability.md")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="this one (may be repeated: together)")
    parser.add_argument("--alone", action="store_true", help="the faults one after the other, not together")
    parser.add_argument("--sell-out", action="store_true", help="200 buyers want 50 pieces while processes are killed")
    parser.add_argument("--without", choices=[*MECHANISMS, "each"], help="drill the drill: leave this mechanism out")
    parser.add_argument("--seed", type=int, help=f"what chance does (random; with --all {SEED}, as the page has it)")
    parser.add_argument("--resume", action="store_true", help="without those that were as they should be before")
    parser.add_argument("--runs", type=int, default=1, help="how often, with one seed after the other (1)")
    parser.add_argument("--orders", type=int, default=300, help="how many orders at least (300)")
    parser.add_argument("--write", action="store_true", help="write what is known by then as docs/reliability.md")
    found = parser.parse_args()
    if found.seed is None:
        found.seed = SEED if found.all else secrets.randbelow(10**6)
    if found.alone and not found.fault:
        found.fault = [*FAULTS]
    return found


if __name__ == "__main__":
    sys.exit(main())
