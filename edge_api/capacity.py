"""How much is asked of one service at a time.

Promise: a service that is slow holds up at most AT_ONCE requests, so that the others go on; and of these, browsing
(what anybody may read) gets at most three quarters: who wants to buy still comes in when all others are turned away.
Who is turned away hears it at once.
"""

from collections import Counter
from functools import cache

from prometheus_client import Counter as Total

from contracts.presence import Route
from edge_api.problems import RefusedError, overloaded

SHED = Total("hedgerow_http_shed", "Requests turned away because too many were under way.", ["peer"])
AT_ONCE = 512
_TURNED_AWAY = overloaded()  # made once: whoever is flooded says it to thousands
_shed = cache(SHED.labels)


class Capacity:
    """The requests under way, by service."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._for_browsing = at_once * 3 // 4
        self._under_way = Counter[str]()

    def take(self, service: str, route: Route) -> None:
        """One request more is under way, until `give_back`. Raises RefusedError."""
        is_browsing = route.who == "anyone" and route.method == "GET"
        if self._under_way[service] >= (self._for_browsing if is_browsing else self._at_once):
            _shed(service).inc()
            raise RefusedError(_TURNED_AWAY)
        self._under_way[service] += 1

    def give_back(self, service: str) -> None:
        """One request less is under way."""
        self._under_way[service] -= 1
