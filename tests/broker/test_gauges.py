"""Figures that are looked up when somebody asks for them."""

import asyncio
import time
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from broker import gauges
from broker.gauges import Found, Gauge, Gauges, known
from tests.support.counting import Counting


async def page(*of: Gauge) -> str:
    """What Prometheus would read of them, asked from a thread as it asks."""
    registry = CollectorRegistry()
    registry.register(Gauges(of))
    return (await asyncio.to_thread(generate_latest, registry)).decode()


def lines(text: str) -> list[str]:
    """The samples."""
    return [line for line in text.splitlines() if not line.startswith("#")]


async def test_figures_are_looked_up_when_the_page_is_asked_for() -> None:
    many = known("tests_many", "By color.", lambda: {"red": 1.0, "blue": 2.5}, "color")
    one = known("tests_one", "One.", lambda: 7)
    assert lines(await page(many, one)) == [
        'tests_many{color="red"} 1.0',
        'tests_many{color="blue"} 2.5',
        "tests_one 7.0",
    ]


async def test_what_can_not_be_looked_up_is_left_out_and_counted() -> None:
    async def fail() -> Found:
        raise ConnectionError

    failures = Counting("hedgerow_gauge_failures_total", gauge="tests_away")
    found = lines(await page(Gauge("tests_away", "Away.", fail), known("tests_here", "Here.", lambda: 1)))
    assert (found, failures.more) == (["tests_here 1.0"], 1)


async def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dawdle() -> Found:
        await asyncio.sleep(60)
        return 1

    monkeypatch.setattr(gauges, "WITHIN", 0.02)
    slow, after = Gauge("tests_slow", "Slow.", dawdle), known("tests_here", "Here.", lambda: 1)
    began = time.monotonic()
    assert lines(await page(slow, after)) == ["tests_here 1.0"]
    assert time.monotonic() - began < 5


async def test_a_loop_that_hangs_does_not_keep_the_page_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "WITHIN", 0.02)
    monkeypatch.setattr(gauges, "_GRACE", 0.01)
    collector = Gauges([known("tests_here", "Here.", lambda: 1)])
    asking = asyncio.create_task(asyncio.to_thread(lambda: list(collector.collect())))
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 - this is the loop that hangs
    assert await asking == []


async def test_a_gauge_has_no_more_series_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "SERIES", 3)
    assert len(lines(await page(known("tests_many", "Many.", lambda: {str(n): n for n in range(9)}, "n")))) == 3


async def test_pages_that_are_asked_for_at_once_look_once() -> None:
    looks: list[int] = []
    collector = Gauges([known("tests_looks", "Looks.", counting(looks))])
    await asyncio.gather(*(asyncio.to_thread(collector.collect) for _ in range(4)))
    assert looks == [0]


async def test_what_was_found_long_ago_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "FRESH", 0.0)
    looks: list[int] = []
    collector = Gauges([known("tests_looks", "Looks.", counting(looks))])
    for _ in range(2):
        await asyncio.to_thread(collector.collect)
    assert looks == [0, 1]


def counting(looks: list[int]) -> Callable[[], Found]:
    """Looks that are noted, each with its number."""

    def look() -> Found:
        looks.append(len(looks))
        return len(looks)

    return look
