"""The page docs/reliability.md: what was done to the platform, and what became of it.

Promise: of everything that there is to run, the newest run of each is in its tables, whatever came of it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from infra.launcher.state import REPOSITORY
from tests.bench import machine
from tests.drills.books import INVARIANTS
from tests.drills.drill import Report
from tests.drills.faults.every import FAULTS
from tests.drills.kept import Kept, kept
from tests.drills.plans import again, every
from tests.drills.running import is_as_it_should_be
from tests.drills.weakened import PROTECTS

PAGE = REPOSITORY / "docs" / "reliability.md"
_INTRODUCTION = """\
# Reliability

Made by `./justw drill --all --write`. Each run starts with a platform at rest, with a broker, a database and a payment
gateway of its own. Customers come, thirty-two at a time: they order what there is plenty of and what there is not, pay
with good and bad cards, prove who they are to their bank (or don't), call off; staff ships, delivers and refunds. A
fault rages meanwhile. When everything has come to rest the books are checked; a run in which the fault touched nothing
has failed, too.

`./justw drill --fault NAME --seed N` is one run, `--runs N` several; `./justw drill --all` is everything, and goes on
where it was interrupted with `--resume`. What fails prints how to run it again.
"""
_SHOWN = ("redeliveries", "duplicates suppressed", "retries", "requests asked again", "outcomes unknown")
Cell = Callable[[Sequence[Report]], str]


def write(seed: int) -> None:
    """Write the page anew, of what is known of everything that there is to run with this seed."""
    PAGE.write_text(made_of(kept(every(seed))))


def made_of(found: Sequence[Kept]) -> str:
    """The page about these runs."""
    reports = [one.report for one in found]
    alone = [report for report in reports if not report.plan.without and not report.plan.sells_out]
    faults = [report for report in alone if report.plan.build is None]
    crashes = [report for report in alone if report.plan.build is not None]
    sold_out = [report for report in reports if report.plan.sells_out]
    without = [report for report in reports if report.plan.without]
    parts = [
        _INTRODUCTION,
        _circumstances(found),
        "## What must be true\n\n" + "\n".join(f"- {(check.__doc__ or '').splitlines()[0]}" for check in INVARIANTS),
        _section("Faults", faults, _by_faults),
        _section("Crash points", crashes, _by_faults),
        _section("Two hundred buyers, fifty pieces, random kills", sold_out, _by_seed),
        _section("Without a mechanism, what it protects breaks", without, _by_mechanism),
        _failures(reports),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _circumstances(found: Sequence[Kept]) -> str:
    minutes = sum(one.report.seconds for one in found) / 60
    right = sum(is_as_it_should_be(one.report) for one in found)
    when = sorted(one.at for one in found)
    commits = ", ".join(dict.fromkeys(one.commit for one in sorted(found, key=lambda one: one.at)))
    lines = [f"{when[0]} to {when[-1]}, at {commits}: {len(found)} runs in {minutes:.0f} minutes of platforms,"]
    lines[0] += f" {right} of them as they should be."
    return "\n".join([*lines, "", *(f"- {name}: {said}" for name, said in machine.hardware().items())])


def _section(title: str, reports: Sequence[Report], table: Callable[[Sequence[Report]], str]) -> str:
    return f"## {title}\n\n{table(reports)}" if reports else ""


def _by_faults(reports: Sequence[Report]) -> str:
    def name(report: Report) -> str:
        return ", ".join(fault.name for fault in report.plan.faults)

    rows = [(faults, list(runs)) for faults, runs in groupby(reports, key=name)]
    return _table(
        {
            "fault": lambda runs: _short(name(runs[0])),
            "runs": lambda runs: str(len(runs)),
            "seeds": _seeds,
            "orders": lambda runs: _number(sum(report.orders.total() for report in runs)),
            "it shows in": _shows_in,
            **{what: _total(what) for what in _SHOWN},
            "verdict": _verdict,
        },
        [runs for _, runs in rows],
    )


def _by_seed(reports: Sequence[Report]) -> str:
    return _table(
        {
            "seed": _seeds,
            "kills": lambda runs: _number(runs[0].counts["workers killed"] + runs[0].counts["edges killed"]),
            **{what: _total(what) for what in _SHOWN[:4]},
            "sold": lambda runs: f"{runs[0].sold} of {runs[0].plan.scarce}",
            "verdict": _verdict,
        },
        [[report] for report in reports],
    )


def _by_mechanism(reports: Sequence[Report]) -> str:
    def broken(runs: Sequence[Report]) -> str:
        found = {invariant: wrong for report in runs for invariant, wrong in report.verdicts.items() if wrong}
        return "; ".join(f"{invariant.rstrip('.')} ({len(wrong)})" for invariant, wrong in found.items()) or "nothing"

    return _table(
        {
            "without": lambda runs: runs[0].plan.without or "",
            "seed": _seeds,
            "must break": lambda runs: f"{PROTECTS[runs[0].plan.without or '']} …",
            "broke, how often": broken,
            "verdict": _verdict,
        },
        [[report] for report in reports],
    )


def _failures(reports: Iterable[Report]) -> str:
    failed = [report for report in reports if not is_as_it_should_be(report)]
    if not failed:
        return ""
    lines = [f"- `{again(report.plan)}`: {_why(report)}" for report in failed]
    return "## What went wrong\n\n" + "\n".join(lines)


def _why(report: Report) -> str:
    if report.failure is not None:
        return report.failure.splitlines()[0]
    if report.plan.without is not None:
        return "what it protects did not break"
    idle = [f"{name} touched nothing" for name in report.idle]
    unsold = [f"{report.sold} of {report.plan.scarce} were sold"] if report.plan.sells_out else []
    return "; ".join([*report.broken, *idle, *unsold])


def _table(columns: dict[str, Cell], rows: Iterable[Sequence[Report]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(cell(row) for cell in columns.values()) + " |" for row in rows]
    return "\n".join(lines)


def _total(what: str) -> Cell:
    return lambda runs: _number(sum(report.counts[what] for report in runs))


def _shows_in(runs: Sequence[Report]) -> str:
    counts: Counter[str] = sum((report.counts for report in runs), Counter())
    shown = dict.fromkeys(what for fault in runs[0].plan.faults for what in fault.shows_in)
    return ", ".join(f"{_number(counts[what])} {what}" for what in shown if counts[what]) or "nothing"


def _seeds(runs: Sequence[Report]) -> str:
    seeds = [report.plan.seed for report in runs]
    if len(seeds) > 1 and seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _verdict(runs: Sequence[Report]) -> str:
    wrong = sum(not is_as_it_should_be(report) for report in runs)
    return f"✗ {wrong} of {len(runs)}" if wrong else "✓"


def _short(names: str) -> str:
    return names if names in FAULTS else "all of these at once"


def _number(count: int) -> str:
    return f"{count:,}" if count else "–"
