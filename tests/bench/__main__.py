"""`just bench`: measure one piece, some, or all."""

import argparse
import signal
import sys

from rich.console import Console

from infra.launcher.failure import Failure
from tests.bench import edge, lane, latency, reads, scaling
from tests.bench.page import show
from tests.bench.rounds import Plan

PIECES = {
    "lane": lane.measure,
    "edge": edge.measure,
    "reads": reads.measure,
    "latency": latency.measure,
    "scaling": scaling.measure,
}


def main() -> int:
    """Measure, show, and end what was started whatever happens."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(stderr=True, highlight=False)
    plan = Plan(arguments.rounds, arguments.seconds, lambda line: console.print(f"[dim]{line}[/]"))
    try:
        for piece in arguments.pieces or PIECES:
            for table in PIECES[piece](plan):
                show(table)
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="just bench", description="How fast it is, beside others.")
    parser.add_argument("pieces", nargs="*", metavar="PIECE", help=f"what to measure: {', '.join(PIECES)} (all)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is measured (5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each time (5)")
    found = parser.parse_args()
    if unknown := [piece for piece in found.pieces if piece not in PIECES]:
        parser.error(f"there is no piece {unknown[0]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
