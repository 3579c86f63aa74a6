"""Asking once more, and counting who got no answer.

Promise: a request that may be repeated and was in flight when the connection was lost is asked once more, inside its
deadline, as soon as the connection is back; every other request is asked once. At most a fifth of all requests are
repeated (and BURST at once), so that whoever keeps cutting connections does not double the load as well. What ends
without an answer is counted by its reason.
"""

from typing import Any, Protocol

from broker.lane import (
    Answer,
    ConnectionLostError,
    DeadlinePassedError,
    LaneError,
    NobodyThereError,
    OverloadedError,
    Request,
    Requester,
)
from broker.reconnecting import BrokerAwayError, Reconnecting
from broker.telemetry import LANE_REPEATED, LANE_UNANSWERED

SHARE = 0.2
BURST = 1000
_REASONS: dict[type[Exception], str] = {
    NobodyThereError: "returned",
    DeadlinePassedError: "expired",
    OverloadedError: "overloaded",
    ConnectionLostError: "connection-lost",
    BrokerAwayError: "broker-away",
}
_unanswered = {kind: LANE_UNANSWERED.labels(reason) for kind, reason in _REASONS.items()}


class Carried(Requester, Protocol):
    """A requester that knows how many requests wait for their answers."""

    @property
    def in_flight(self) -> int: ...


class Repeating:
    """Asks through another requester."""

    def __init__(self, requester: Carried, link: Reconnecting[Any]) -> None:
        self._requester = requester
        self._link = link
        self._budget = float(BURST)

    @property
    def in_flight(self) -> int:
        """How many requests wait for their answers."""
        return self._requester.in_flight

    async def request(self, request: Request) -> Answer:
        """Ask and wait for the answer. Raises LaneError or BrokerAwayError."""
        self._budget = min(self._budget + SHARE, BURST)
        try:
            return await self._requester.request(request)
        except ConnectionLostError as error:
            if not request.repeatable or self._budget < 1:
                _count(error)
                raise
        except (LaneError, BrokerAwayError) as error:
            _count(error)
            raise
        self._budget -= 1
        LANE_REPEATED.inc()
        try:
            await self._link.wait_up(within=max(0.0, request.seconds_left))
            return await self._requester.request(request)
        except (LaneError, BrokerAwayError) as error:
            _count(error)
            raise


def _count(error: LaneError | BrokerAwayError) -> None:
    next(counter for kind, counter in _unanswered.items() if isinstance(error, kind)).inc()
