"""What something costs in processor time, by who spends it."""

from collections.abc import Mapping, Sequence

import psutil

from tests.bench.rounds import Figures

Parts = Mapping[str, Sequence[psutil.Process]]
"""Processes, with whatever they start, by the heading of their column."""


class Meter:
    """Counts from when it is made."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._before = self._seconds()

    def each(self, times: float, *, unit: float = 1e-6) -> Figures:
        """The share of each part in one of so many; in core-µs, if not otherwise said."""
        return {part: (now - self._before[part]) / times / unit for part, now in self._seconds().items()}

    def _seconds(self) -> dict[str, float]:
        return {part: sum(map(_used, _families(processes))) for part, processes in self._parts.items()}


def _families(processes: Sequence[psutil.Process]) -> set[psutil.Process]:
    return {*processes, *(child for process in processes for child in process.children(recursive=True))}


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
