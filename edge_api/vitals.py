"""What a running edge tells of itself, and of whom it hears, when it is asked."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from broker.gauges import Gauge, known, of_the_lane
from broker.lane.repeating import Carried
from broker.reconnecting import Reconnecting
from broker.registry import Registry


def vitals(
    registry: Registry,
    requester: Carried,
    links: Mapping[str, Reconnecting[Any]],
    checks: Mapping[str, Callable[[], bool]],
) -> Iterator[Gauge]:
    """The gauges of one running edge."""
    yield from of_the_lane(requester, links)
    yield known(
        "hedgerow_ready",
        "Whether what readiness consists of is met.",
        lambda: {name: float(is_met()) for name, is_met in checks.items()},
        "check",
    )
    yield known(
        "hedgerow_presence_instances",
        "Instances of each service that was ever there.",
        lambda: {name: float(len(record.instances)) for name, record in registry.services.items()},
        "peer",
    )
