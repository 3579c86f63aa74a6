"""What `--all` runs, and the page that tells of it."""

from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.drills import kept, running
from tests.drills.builds import without
from tests.drills.crash_points import POINTS
from tests.drills.drill import Plan, Report
from tests.drills.faults.every import AT_ONCE, FAULTS, TOGETHER
from tests.drills.kept import Kept
from tests.drills.page import made_of
from tests.drills.plans import again, asked, every, sell_out
from tests.drills.running import is_as_it_should_be
from tests.drills.weakened import MECHANISMS, PROTECTS

WORKERS = Plan(7, [FAULTS["workers"]])


def right(plan: Plan, **counts: int) -> Report:
    return Report(plan, Counter(confirmed=120), sold=plan.scarce, counts=Counter(counts), verdicts={"All is well.": []})


def test_everything_is_each_fault_alone_each_crash_point_twenty_sell_outs_and_each_mechanism_left_out() -> None:
    plans = list(every(1))
    alone = Counter(plan.faults[0].name for plan in plans if len(plan.faults) == 1)
    assert {name for name, times in alone.items() if times >= 5} == {one for one in FAULTS if "crash-" not in one}
    assert [len(plan.faults) for plan in plans].count(len(AT_ONCE)) == 2
    assert {f"crash-{point}" for point in POINTS} == {name for name, times in alone.items() if times == 2}
    sold_out = [plan for plan in plans if plan.sells_out]
    assert len({plan.seed for plan in sold_out}) == 20
    assert {(plan.buyers_of_it, plan.scarce, plan.at_once) for plan in sold_out} == {(200, 50, 32)}
    assert [plan.without for plan in plans if plan.without] == list(MECHANISMS)


def test_what_needs_the_same_build_follows_each_other() -> None:
    builds = [build for build, _ in groupby(every(1), key=lambda plan: plan.build)]
    assert builds == [None, "crash-points", *map(without, MECHANISMS)]


def test_what_rages_together_needs_no_servers_and_no_build_of_its_own() -> None:
    assert TOGETHER
    assert not any(fault.needs_own_servers or fault.build for fault in TOGETHER)


@pytest.mark.parametrize(
    ("plan", "command"),
    [
        (WORKERS, "just drill --fault workers --seed 7 --orders 200"),
        (replace(WORKERS, without="inbox"), "just drill --fault workers --without inbox --seed 7 --orders 200"),
        (sell_out(3), "just drill --sell-out --seed 3"),
    ],
)
def test_a_plan_says_how_to_run_it_again(plan: Plan, command: str) -> None:
    assert again(plan) == command


def test_without_a_mechanism_what_it_protects_must_break() -> None:
    (plan,) = asked(None, "inbox", seed=1, runs=1, orders=10)
    broken = Report(plan, verdicts={f"{PROTECTS['inbox']}: a witness": ["twice"]})
    another = Report(plan, verdicts={"Something else.": ["wrong"]})
    assert [is_as_it_should_be(one) for one in (broken, another, Report(plan), right(WORKERS))] == [1, 0, 0, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure": "TimeoutError: "},
        {"idle": ["workers"]},
        {"verdicts": {"All is well.": ["it is not"]}},
        {"plan": replace(WORKERS, sells_out=True), "sold": 49},
    ],
)
def test_a_report_that_is_wrong_anywhere_does_not_hold(wrong: dict[str, Any]) -> None:
    assert right(WORKERS).holds
    assert not replace(right(WORKERS), **wrong).holds


def test_the_page_has_every_run_and_what_went_wrong() -> None:
    crash = Plan(1, [FAULTS["crash-before-mark"]])
    reports = [right(replace(WORKERS, seed=seed), redeliveries=1000) for seed in (7, 8)]
    reports += [replace(right(crash), failure="TimeoutError: it took too long"), right(sell_out(3))]
    reports.append(Report(replace(WORKERS, without="inbox"), verdicts={PROTECTS["inbox"]: ["a", "b"]}))
    page = made_of([Kept(report, f"2026-11-2{day} 10:00 UTC", "abc") for day, report in enumerate(reports)])
    assert "2026-11-20 10:00 UTC to 2026-11-24 10:00 UTC, at abc: 5 runs in" in page
    assert "| workers | 2 | 7–8 | 240 | 2,000 redeliveries | 2,000 | – |" in page
    assert "| crash-before-mark | 1 | 1 | 120 | nothing |" in page
    assert "✗ 1 of 1" in page
    assert "- `just drill --fault crash-before-mark --seed 1 --orders 200`: TimeoutError: it took too long" in page
    assert "| 3 | – | – | – | – | – | 50 of 50 | ✓ |" in page
    assert "| inbox | 7 | Every message had one effect … | Every message had one effect (2) | ✓ |" in page


def test_of_what_is_run_again_the_newest_report_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kept, "FILE", tmp_path / "drills.jsonl")
    plan, other = sell_out(3), sell_out(4)
    assert kept.kept([plan, other]) == []
    for report in (replace(right(plan), failure="it took too long"), right(other, retries=7), right(plan)):
        kept.keep(report)
    assert [one.report for one in kept.kept([plan, other, sell_out(5)])] == [right(plan), right(other, retries=7)]


class Grounds:
    """Platforms that are made for drills which do nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, results: dict[int, Exception | bool]) -> None:
        self.made: list[str | None] = []
        self._results = results
        monkeypatch.setattr(running, "ground", self)
        monkeypatch.setattr(running, "drill", self.drill)

    def __call__(self, build: str | None) -> "Grounds":
        self.made.append(build)
        return self

    def __enter__(self) -> "Grounds":
        return self

    def __exit__(self, *_: object) -> None: ...

    async def drill(self, platform: object, plan: Plan, say: object) -> Report:
        result = self._results.get(plan.seed, True)
        if isinstance(result, Exception):
            raise result
        return right(plan) if result else replace(right(plan), idle=["workers"])


def test_a_platform_is_used_again_until_a_drill_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = ExceptionGroup("several", [AssertionError("POST /orders failed")])
    grounds = Grounds(monkeypatch, {2: False, 4: failure})
    crash = Plan(6, [FAULTS["crash-before-mark"]])
    reports = list(running.run([*(replace(WORKERS, seed=seed) for seed in range(1, 6)), crash], print))
    assert [report.holds for report in reports] == [True, False, True, False, True, True]
    assert reports[3].failure == "AssertionError: POST /orders failed"
    assert grounds.made == [None, None, None, "crash-points"]
