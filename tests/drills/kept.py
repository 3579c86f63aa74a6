"""What came of the drills that were run here, the newest report about each.

Promise: a report is kept as soon as there is one, so that hours of drills can be spread over days and over platforms
that are drilled at once.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.launcher.state import REPOSITORY
from tests.drills.drill import Plan, Report
from tests.drills.plans import again

FILE = REPOSITORY / ".hedgerow" / "drills.jsonl"


@dataclass(frozen=True)
class Kept:
    """A report, and when and at which commit it was made."""

    report: Report
    at: str
    commit: str


def keep(report: Report) -> None:
    """Remember it, in place of an earlier one of the same plan."""
    line = {
        "report": {**vars(report), "plan": again(report.plan)},
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
    }
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("a") as file:
        file.write(json.dumps(line) + "\n")


def kept(plans: Iterable[Plan]) -> list[Kept]:
    """What is known of these plans."""
    lines = [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []
    newest = {line["report"]["plan"]: line for line in lines}
    return [_read(plan, newest[again(plan)]) for plan in plans if again(plan) in newest]


def _read(plan: Plan, line: dict[str, Any]) -> Kept:
    said = line["report"]
    counters = {name: Counter(said[name]) for name in ("orders", "counts")}
    return Kept(Report(**{**said, **counters, "plan": plan}), line["at"], line["commit"])


def _commit() -> str:
    said = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True)
    return said.stdout.strip() or "an unknown commit"
