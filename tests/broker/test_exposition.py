"""Where the page of metrics is served, and how the lag of the loop comes onto it."""

import asyncio
import contextlib
import socket
import time

import pytest
from prometheus_client import REGISTRY

from broker import exposition
from broker.exposition import BadMetricsAddressError, expose, measure_lag_forever, telling
from broker.gauges import known
from tests.support.counting import Counting


@pytest.mark.parametrize("port", ["no", "0", "65536", "-1", "٣"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(BadMetricsAddressError, match="HEDGEROW_METRICS_PORT"):
        expose("tests", "1", {"HEDGEROW_METRICS_PORT": port})


def test_a_taken_port_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(BadMetricsAddressError, match=f"port {port} of 127.0.0.1"):
            expose("tests", "1", {"HEDGEROW_METRICS_PORT": port})


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(BadMetricsAddressError, match=r"not-a-host\.invalid"):
        expose("tests", "1", {"HEDGEROW_METRICS_PORT": "1", "HEDGEROW_METRICS_HOST": "not-a-host.invalid"})


def test_without_a_port_nothing_is_served() -> None:
    expose("nobody", "1", {})
    assert REGISTRY.get_sample_value("hedgerow_process", {"name": "nobody", "version": "1"}) is None


async def test_gauges_are_told_while_the_block_lasts() -> None:
    with telling([known("tests_told", "Told.", lambda: 1)]):
        assert await asyncio.to_thread(REGISTRY.get_sample_value, "tests_told") == 1
    assert REGISTRY.get_sample_value("tests_told") is None


async def test_a_loop_that_is_held_up_is_seen_to_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "EVERY", 0.001)
    on_time = Counting("hedgerow_loop_lag_seconds_bucket", le="0.01")
    at_all = Counting("hedgerow_loop_lag_seconds_count")
    measuring = asyncio.create_task(measure_lag_forever())
    await asyncio.sleep(0)
    time.sleep(0.02)  # noqa: ASYNC251 - this is what holds it up
    while not at_all.more:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    measuring.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await measuring
    assert at_all.more - on_time.more >= 1
