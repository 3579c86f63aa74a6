"""How much is asked of one service at a time.

Promise: a service that is slow holds up at most AT_ONCE requests, so that the others go on; and of these, browsing
(what anybody may read) gets at most three quarters: who wants to buy still comes in when all others are turned away.
A burst may wait in the service's queue until it is worked off; but where the queue stands, browsing gets what the
instances have in hand and as much again, so that who buys need not wait behind more (the distinction is that of CoDel,
RFC 8289).
Who is turned away hears it at once.
"""

import time
from collections import Counter
from collections.abc import Callable
from functools import cache

from prometheus_client import Counter as Total

from broker.lane import PREFETCH
from broker.registry import ServiceRecord
from contracts.presence import Route
from edge_api.problems import RefusedError, overloaded

SHED = Total("hedgerow_http_shed", "Requests turned away because too many were under way.", ["peer"])
AT_ONCE = 512
STANDS_AFTER_SECONDS = 0.5
"""A queue that was never empty for so long stands."""
_TURNED_AWAY = overloaded()  # made once: whoever is flooded says it to thousands
_shed = cache(SHED.labels)


class Capacity:
    """The requests under way, by service."""

    def __init__(self, at_once: int = AT_ONCE, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        self._for_browsing = at_once * 3 // 4
        self._clock = clock
        self._under_way = Counter[str]()
        self._queued: dict[str, float] = {}
        """Since when somebody has been waiting in a service's queue."""

    def check(self, record: ServiceRecord, route: Route) -> None:
        """Raises RefusedError where no request more can be under way."""
        is_browsing = route.who == "anyone" and route.method == "GET"
        if self._under_way[record.name] >= (self._left_for_browsing(record) if is_browsing else self._at_once):
            _shed(record.name).inc()
            raise RefusedError(_TURNED_AWAY)

    def take(self, record: ServiceRecord, route: Route) -> None:
        """One request more is under way, until `give_back`. Raises RefusedError."""
        self.check(record, route)
        self._count(record, 1)

    def give_back(self, record: ServiceRecord) -> None:
        """One request less is under way."""
        self._count(record, -1)

    def _count(self, record: ServiceRecord, more: int) -> None:
        name = record.name
        self._under_way[name] += more
        if self._under_way[name] <= _in_hand(record):
            self._queued.pop(name, None)
        elif name not in self._queued:
            self._queued[name] = self._clock()

    def _left_for_browsing(self, record: ServiceRecord) -> int:
        since = self._queued.get(record.name)
        if since is None or self._clock() - since <= STANDS_AFTER_SECONDS:
            return self._for_browsing
        return min(2 * _in_hand(record), self._for_browsing)


def _in_hand(record: ServiceRecord) -> int:
    return PREFETCH * max(1, len(record.instances))
