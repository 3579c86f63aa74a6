"""Lines on their way to a collector that listens, is away, or hangs."""

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from broker import shipping
from broker.shipping import Shipper
from tests.support.collector import collecting
from tests.support.counting import Counting

Start = Callable[[int], Shipper]


@pytest.fixture
def shipping_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a quick one, that sends to this port until the test ends."""
    monkeypatch.setattr(shipping, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(shipping, "LONGEST_PAUSE", 0.02)
    started: list[Shipper] = []

    def start(port: int) -> Shipper:
        started.append(Shipper("127.0.0.1", port))
        return started[-1]

    yield start
    for shipper in started:
        shipper.finish(within=0)


def test_lines_arrive_in_order(shipping_to: Start) -> None:
    with collecting() as collector:
        shipper = shipping_to(collector.port)
        wanted = [f"line {number}" for number in range(2000)]
        for line in wanted:
            shipper.add(f"{line}\n")
        until(lambda: collector.lines == wanted)


def test_a_collector_that_comes_back_gets_what_was_said_meanwhile(shipping_to: Start) -> None:
    with collecting() as first:
        shipper = shipping_to(first.port)
        shipper.add("before\n")
        until(lambda: first.lines == ["before"])
    shipper.add("meanwhile\n")
    with collecting(first.port) as second:
        until(lambda: second.lines == ["meanwhile"])
        shipper.add("after\n")
        until(lambda: second.lines == ["meanwhile", "after"])


def test_while_nobody_listens_adding_never_waits_and_the_newest_lines_are_kept(
    shipping_to: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "LINES", 10)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    lost, shipper = Counting("hedgerow_log_lines_lost_total"), shipping_to(port)
    began = time.monotonic()
    for number in range(10_000):
        shipper.add(f"{number}\n")
    assert time.monotonic() - began < 1
    assert lost.more == 9990
    with collecting(port) as collector:
        until(lambda: collector.lines == [str(number) for number in range(9990, 10_000)])


def test_a_collector_that_hangs_holds_nobody_up(shipping_to: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "WITHIN", 0.05)
    monkeypatch.setattr(shipping, "LINES", 100)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        shipper = shipping_to(int(deaf.getsockname()[1]))
        lost, began, text = Counting("hedgerow_log_lines_lost_total"), time.monotonic(), "x" * 10_000 + "\n"
        while not lost.more and time.monotonic() - began < 20:
            shipper.add(text)
        assert lost.more
        before = time.monotonic()
        for _ in range(1000):
            shipper.add(text)
        assert time.monotonic() - before < 1


def test_when_it_is_to_finish_it_sends_what_is_there_and_then_no_more(shipping_to: Start) -> None:
    with collecting() as collector:
        shipper = shipping_to(collector.port)
        shipper.add("last\n")
        shipper.finish(within=5)
        until(lambda: collector.lines == ["last"])


def until(check: object) -> None:
    """Wait for it, five seconds at most."""
    assert callable(check)
    end = time.monotonic() + 5
    while not check():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)
