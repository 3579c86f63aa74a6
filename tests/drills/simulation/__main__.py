"""`python -m tests.drills.simulation`: live through histories, and say which went wrong."""

import argparse
import sys
import time

from tests.drills.simulation.books import INVARIANTS
from tests.drills.simulation.world import BrokenError, live, world_of


def main() -> int:
    """Live through the histories; one alone is told in full."""
    parser = argparse.ArgumentParser(prog="python -m tests.drills.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first history (1)")
    parser.add_argument("--runs", type=int, default=10_000, help="how many histories (10000)")
    asked = parser.parse_args()
    if asked.runs == 1:
        world = world_of(asked.seed)
        world.tell(print)
        world.agenda.run()
    began, wrong = time.monotonic(), 0
    for seed in range(asked.seed, asked.seed + asked.runs):
        try:
            live(seed)
        except BrokenError as broken:
            wrong += 1
            print(broken)
    took = time.monotonic() - began
    print(f"{asked.runs} histories, {len(INVARIANTS)} invariants each, in {took:.1f} s: {wrong} went wrong.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
