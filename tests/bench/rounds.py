"""Measuring fairly.

Promise: sides take turns, so that whatever else the machine does falls on all of them; a figure is the median of the
rounds, with the least and the greatest beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Self

Figures = Mapping[str, float]
Run = Callable[[float], Figures]
"""Measures for so many seconds; figures by the heading of their column."""
WARM_UP_SECONDS = 5.0
"""At most; Node is at its best after a few thousand requests."""


@dataclass(frozen=True)
class Plan:
    """How often and how long; `say` hears what is being done."""

    rounds: int
    seconds: float
    say: Callable[[str], None]


@dataclass(frozen=True)
class Spread:
    """Several measurements of one figure."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure."""
        return median(self.values)


@dataclass(frozen=True)
class Table:
    """Sides and their figures. `verdicts` say which targets are met, and where we lose."""

    title: str
    rows: Mapping[str, Mapping[str, Spread]]
    verdicts: Sequence[str] = field(default=())

    def figure(self, side: str, column: str) -> float:
        """The median."""
        return self.rows[side][column].median

    def saying(self, *verdicts: str) -> Self:
        """The same with these verdicts."""
        return replace(self, verdicts=(*self.verdicts, *verdicts))

    def to_json(self) -> dict[str, Any]:
        """To be kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        """As it was kept."""
        rows = {
            side: {column: Spread(tuple(spread["values"])) for column, spread in figures.items()}
            for side, figures in kept["rows"].items()
        }
        return cls(kept["title"], rows, tuple(kept["verdicts"]))


def alternate(sides: Mapping[str, Run], plan: Plan) -> dict[str, dict[str, Spread]]:
    """Measure the sides in turn, in the opposite order every other round, after one that does not count."""
    found: dict[str, list[Figures]] = {name: [] for name in sides}
    for number in range(plan.rounds + 1):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            plan.say(f"round {number} of {plan.rounds}: {name}" if number else f"warming up: {name}")
            figures = sides[name](plan.seconds if number else min(plan.seconds, WARM_UP_SECONDS))
            found[name] += [figures] if number else []
    return {name: spreads(measured) for name, measured in found.items()}


def spreads(measured: Sequence[Figures]) -> dict[str, Spread]:
    """The figures of several rounds by column."""
    return {column: Spread(tuple(figures[column] for figures in measured)) for column in measured[0]}


def compare(ours: float, theirs: float, *, at_least: float, what: str) -> str:
    """A sentence on a target: `ours` should be at least so many times `theirs`."""
    ratio = ours / theirs
    loss = " We lose here." if ratio < 1 else ""
    return f"{what}: {ratio:.2f} ×, wanted at least {at_least:g} ×: {verdict(ratio >= at_least)}.{loss}"


def verdict(met: bool) -> str:
    """In a word."""
    return "met" if met else "MISSED"
