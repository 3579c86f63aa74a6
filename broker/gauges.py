"""Figures that are looked up when somebody asks for them.

Promise: what is handled pays nothing for them. A page waits at most `WITHIN` seconds for all of them together, leaves
out what could not be looked up, and counts that; pages that are asked for at the same time share one look. A gauge has
at most `SERIES` series.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from broker.lane.repeating import Carried
from broker.reconnecting import Reconnecting
from broker.telemetry import GAUGE_FAILURES, log

WITHIN = 2.0
FRESH = 1.0
"""For how many seconds what was found may be told again."""
SERIES = 100
_GRACE = 2.0
"""What giving up may take on top: a statement that is cut off ends with its connection."""

Found = float | Mapping[str, float]
"""One figure, or one for each value of the gauge's label."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """One of them: its name, what it means, how it is looked up, and the label that tells its figures apart."""

    name: str
    meaning: str
    look: Callable[[], Awaitable[Found]]
    label: str | None = None


def known(name: str, meaning: str, read: Callable[[], Found], label: str | None = None) -> Gauge:
    """A gauge of something that this process knows without asking anybody."""

    async def look() -> Found:
        return read()

    return Gauge(name, meaning, look, label)


def of_the_lane(requester: Carried, links: Mapping[str, Reconnecting[Any]]) -> Iterator[Gauge]:
    """What every process knows of its own connections to the broker."""
    yield known("hedgerow_lane_in_flight", "Requests that wait for their answers here.", lambda: requester.in_flight)
    yield known(
        "hedgerow_broker_up",
        "Whether a connection to the broker stands.",
        lambda: {name: float(link.is_up) for name, link in links.items()},
        "link",
    )


class Gauges(Collector):
    """These gauges as a collector of prometheus_client. It is asked from other threads, and looks in the loop in which
    it was made, at one gauge after the other."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = tuple(gauges)
        self._loop = asyncio.get_running_loop()
        self._looking = asyncio.Lock()
        self._found: Sequence[Metric] = ()
        self._looked_at = -FRESH
        self._missing: set[Gauge] = set()
        self._failures = {gauge.name: GAUGE_FAILURES.labels(gauge.name) for gauge in self._gauges}

    def describe(self) -> Iterator[Metric]:
        """Nothing: asked when it is registered, in the loop, which must not wait for itself. Several edges in one
        process may have the same gauges."""
        return iter(())

    def collect(self) -> Iterable[Metric]:
        """What can be found in time: nothing at all where the loop hangs."""
        looking = asyncio.run_coroutine_threadsafe(self._look(), self._loop)
        try:
            return looking.result(WITHIN + _GRACE)
        except TimeoutError:
            looking.cancel()
            return ()

    async def _look(self) -> Sequence[Metric]:
        async with self._looking:
            if self._loop.time() - self._looked_at >= FRESH:
                until = self._loop.time() + WITHIN
                found = [await self._look_at(gauge, until) for gauge in self._gauges]
                self._found = [family for family in found if family is not None]
                self._looked_at = self._loop.time()
            return self._found

    async def _look_at(self, gauge: Gauge, until: float) -> Metric | None:
        try:
            async with asyncio.timeout_at(until):
                found = await gauge.look()
        except Exception as error:
            self._failures[gauge.name].inc()
            if gauge not in self._missing:
                log.warning("a figure can't be looked up", gauge=gauge.name, error=error)
            self._missing.add(gauge)
            return None
        self._missing.discard(gauge)
        return _family(gauge, found)


def _family(gauge: Gauge, found: Found | None = None) -> Metric:
    family = GaugeMetricFamily(gauge.name, gauge.meaning, labels=[gauge.label] if gauge.label else ())
    figures = found if isinstance(found, Mapping) else {} if found is None else {"": found}
    for value, figure in islice(figures.items(), SERIES):
        family.add_metric([value] if gauge.label else [], figure)
    return family
