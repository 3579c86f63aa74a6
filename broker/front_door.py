"""The edge's short way to the services: a direct exchange, bound by the edge to what it accepted.

Promise: what the edge asks arrives, with these bindings or (through `requests`, the alternate exchange) without them;
only operations of accepted manifests are bound, and nobody but an edge may bind there. A topic exchange costs the
broker a fifth of a round trip; services still need it, because a direct one knows no rights by routing key.
"""

import asyncio
import math

from broker import topology
from broker.lane.wire.channel import Channel
from broker.lane.wire.connection import ClosedByBrokerError, Wire
from broker.lane.wire.link import WireLink
from broker.reconnecting import BrokerAwayError
from broker.registry import Registry, ServiceRecord
from broker.shared import ensure_on_wire

LOOK_EVERY = 0.5
PATIENCE = 10.0
"""Until a service is looked after again whose queue is not there, in seconds."""


class FrontDoor:
    """Keeps the exchange bound as the registry says, over one link."""

    def __init__(self, registry: Registry, link: WireLink) -> None:
        self._registry = registry
        self._link = link
        self._channel: Channel | None = None
        self._bound: dict[str, tuple[str, ...]] = {}
        self._not_before: dict[str, float] = {}
        link.on_connect(self._set_up)

    async def keep_bound_forever(self) -> None:
        """Bind what is new until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            wire = self._link.connection
            if wire is not None and self._link.is_up:
                for record in list(self._registry.services.values()):
                    await self._bind(wire, record.name, _topics(record))

    async def _bind(self, wire: Wire, service: str, topics: tuple[str, ...]) -> None:
        if not topics:
            self._bound.pop(service, None)
            return
        now = asyncio.get_running_loop().time()
        if self._bound.get(service, ()) == topics or now < self._not_before.get(service, -math.inf):
            return
        try:
            if self._channel is None or self._channel.error is not None:
                self._channel = await wire.channel()
                self._channel.on_end = lambda error: None  # a queue that is not there closes the channel, not the wire
            await self._channel.call(*topology.through_front_door(service, topics))
        except ClosedByBrokerError:
            self._not_before[service] = now + PATIENCE
        except BrokerAwayError:
            return
        else:
            self._bound[service] = topics

    async def _set_up(self, wire: Wire) -> None:
        """After a loss everything is bound anew: the broker may have come back without it."""
        self._bound.clear()
        self._not_before.clear()
        await ensure_on_wire(wire)


def _topics(record: ServiceRecord) -> tuple[str, ...]:
    """What the service itself is asked for."""
    return tuple(offer.topic for offer in record.offers if not offer.parts)
