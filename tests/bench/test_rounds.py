"""Sides take turns, and the median speaks."""

from functools import partial

from tests.bench.rounds import Figures, Plan, alternate


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    asked: list[str] = []
    speeds = {"one": iter([1000.0, 3.0, 1.0, 2.0]), "other": iter([1000.0, 6.0, 4.0, 50.0])}

    def run(side: str, seconds: float) -> Figures:
        asked.append(side)
        return {"speed": next(speeds[side])}

    found = alternate({side: partial(run, side) for side in speeds}, Plan(3, 0.1, say=lambda line: None))

    assert asked == ["one", "other", "other", "one"] * 2
    assert {side: figures["speed"].median for side, figures in found.items()} == {"one": 2.0, "other": 6.0}
