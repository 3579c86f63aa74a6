"""What carries the lane: our own wire, or aio-pika where HEDGEROW_LANE says so.

Promise: both do the same (one suite of tests holds for them), so that one can stand in for the other at any time.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from broker.connection import Link
from broker.lane import Answering, Responder
from broker.lane.aiopika.publisher import AioPikaPublisher
from broker.lane.aiopika.requester import AioPikaRequester
from broker.lane.aiopika.responder import AioPikaResponder
from broker.lane.repeating import Carried, Repeating
from broker.lane.wire.link import WireLink
from broker.lane.wire.publisher import WirePublisher
from broker.lane.wire.requester import WireRequester
from broker.lane.wire.responder import WireResponder
from broker.liveness import Liveness
from broker.publisher import Publisher
from broker.reconnecting import Reconnecting
from broker.topology import REQUESTS

VARIABLE = "HEDGEROW_LANE"


class _Parts(NamedTuple):
    link: Callable[..., Reconnecting[Any]]
    publisher: Callable[..., Publisher]
    requester: Callable[..., Carried]
    responder: Callable[..., Responder]


CARRIERS = {
    "wire": _Parts(WireLink, WirePublisher, WireRequester, WireResponder),
    "aio-pika": _Parts(Link, AioPikaPublisher, AioPikaRequester, AioPikaResponder),
}


class Carrier:
    """Both ends of the lane and the publisher of one process. What is asked and published goes over the link
    `publishing`, requests arrive over `consuming`; neither is started here. Raises ValueError for a carrier that there
    is not."""

    def __init__(self, amqp_url: str, *, name: str, carried_by: str | None = None) -> None:
        chosen = carried_by or os.environ.get(VARIABLE) or "wire"
        if chosen not in CARRIERS:
            raise ValueError(f"{VARIABLE} is {chosen!r}, which is not one of {', '.join(CARRIERS)}.")
        self._parts = CARRIERS[chosen]
        self.publishing = self._parts.link(amqp_url, name=f"{name} publishing")
        self.consuming = self._parts.link(amqp_url, name=f"{name} requests")
        self.publisher = self._parts.publisher(self.publishing)

    def requester(self, *, owner: str, exchange: str = REQUESTS) -> Repeating:
        """Who asks, through `exchange`; `owner` names its reply queues."""
        return Repeating(self._parts.requester(self.publishing, owner=owner, exchange=exchange), self.publishing)

    def responder(self, service: str, topics: Iterable[str], answering: Answering, liveness: Liveness) -> Responder:
        """Who answers."""
        return self._parts.responder(
            service,
            topics,
            answering,
            consuming=self.consuming,
            publisher=self.publisher,
            liveness=liveness,
        )
