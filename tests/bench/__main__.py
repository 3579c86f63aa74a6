"""`just bench`: measure one piece, some, or all."""

import argparse
import signal
import sys
from functools import partial
from types import ModuleType
from typing import NoReturn

from rich.console import Console

from infra.launcher.failure import Failure
from tests.bench import (
    edge,
    lane,
    latency,
    machine,
    orders,
    overload,
    page,
    parts,
    presence,
    reads,
    relay,
    scaling,
    start,
    streams,
)
from tests.bench.rounds import Plan

PIECES: dict[str, ModuleType] = {
    "lane": lane,
    "edge": edge,
    "parts": parts,
    "reads": reads,
    "latency": latency,
    "relay": relay,
    "scaling": scaling,
    "presence": presence,
    "start": start,
    "orders": orders,
    "streams": streams,
    "overload": overload,
}


def main() -> int:
    """Measure and show; whatever was started ends with it."""
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    console = Console(stderr=True, highlight=False)
    try:
        for piece in arguments.pieces or PIECES:
            plan = Plan(arguments.rounds, arguments.seconds, partial(_say, console, piece))
            tables = PIECES[piece].measure(plan)
            page.keep(piece, tables, plan)
            for table in tables:
                page.show(table)
        if arguments.write:
            page.write(PIECES, machine.describe())
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _say(console: Console, piece: str, line: str) -> None:
    console.print(f"[dim]{piece}: {line}[/]")


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="just bench", description="How fast it is, beside others.")
    parser.add_argument("pieces", nargs="*", metavar="PIECE", help=f"what to measure: {', '.join(PIECES)} (all)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is measured (5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each time (10)")
    parser.add_argument("--write", action="store_true", help="keep the latest figures as docs/performance.md")
    found = parser.parse_args()
    if unknown := [piece for piece in found.pieces if piece not in PIECES]:
        parser.error(f"there is no piece {unknown[0]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
