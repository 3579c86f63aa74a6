"""Asking once more.

Promise: a request that may be repeated and was in flight when the connection was lost is asked once more, inside its
deadline, as soon as the connection is back; every other request is asked once. At most a fifth of all requests are
repeated (and BURST at once), so that whoever keeps cutting connections does not double the load as well.
"""

from typing import Any

from broker.lane import Answer, ConnectionLostError, Request, Requester
from broker.reconnecting import Reconnecting
from broker.telemetry import LANE_REPEATED

SHARE = 0.2
BURST = 1000


class Repeating:
    """Asks through another requester."""

    def __init__(self, requester: Requester, link: Reconnecting[Any]) -> None:
        self._requester = requester
        self._link = link
        self._budget = float(BURST)

    async def request(self, request: Request) -> Answer:
        """Ask and wait for the answer. Raises LaneError or BrokerAwayError."""
        self._budget = min(self._budget + SHARE, BURST)
        try:
            return await self._requester.request(request)
        except ConnectionLostError:
            if not request.repeatable or self._budget < 1:
                raise
        self._budget -= 1
        LANE_REPEATED.inc()
        await self._link.wait_up(within=max(0.0, request.seconds_left))
        return await self._requester.request(request)
