"""The platform itself: it is at rest, complete, and has answered everybody."""

from collections.abc import Iterable

from tests.drills.evidence import Evidence

DEADLINE = 20.0
"""How long an answer may take, in seconds, for those, too, who wait at the door while the next edge starts."""


def _nothing_is_left_to_do(found: Evidence) -> Iterable[str]:
    """Outboxes, parking places and queues are empty, and nothing waits."""
    return [f"{name}: {count}" for name, count in found.left.items()]


def _everybody_is_back(found: Evidence) -> Iterable[str]:
    """Every service is there again."""
    return [f"{name} is not" for name in found.away]


def _requests_are_answered_in_time(found: Evidence) -> Iterable[str]:
    """Every request is answered by its deadline."""
    if found.asking.unanswered:
        yield f"{found.asking.unanswered} were never answered"
    if found.asking.slowest > DEADLINE:
        yield f"one took {found.asking.slowest:.1f} s"


CHECKS = (
    _nothing_is_left_to_do,
    _everybody_is_back,
    _requests_are_answered_in_time,
)
