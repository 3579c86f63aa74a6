"""Hearing of the events that make answers stale, and of those that streams tell.

Promise: the cache keeps an answer only while every event that could make it stale is heard. An event is heard from the
moment its binding is confirmed; when the connection is lost, who listens is told before anything else happens.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from pamqp import commands

from broker import topology
from broker.ids import new_token
from broker.lane.wire.channel import Channel
from broker.lane.wire.connection import Wire
from broker.lane.wire.frames import Delivery, Returned
from broker.lane.wire.link import WireLink
from broker.reconnecting import BrokerAwayError
from broker.telemetry import log
from contracts.presence import Offer
from edge_api.routing import Routes

LOOK_EVERY = 0.5
MOST_TOPICS = 1000


class Hearer(Protocol):
    """Whom events are told."""

    def hears(self, topics: frozenset[str], offers: Iterable[Offer]) -> None:
        """From now on these events are heard, and these operations answered."""

    def news(self, topic: str, data: Any) -> None:
        """An event; `data` of None stands for any such event."""

    def is_deaf(self) -> None:
        """Events may have been missed, and will be until it `hears` again."""


class News:
    """Feeds hearers over one link, with what the accepted manifests name."""

    def __init__(self, link: WireLink, routes: Routes, *hearers: Hearer, owner: str) -> None:
        self._link = link
        self._routes = routes
        self._hearers = hearers
        self._owner = owner
        self._channel: Channel | None = None
        self._queue = ""
        self._bound: frozenset[str] = frozenset()
        self._generation = -1
        link.on_connect(self._set_up)
        link.on_loss(self._lost)

    async def hear_forever(self) -> None:
        """Bind what is new until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            channel, generation = self._channel, self._routes.registry.generation
            if channel is not None and self._link.is_up and generation != self._generation:
                try:
                    await self._bind(channel)
                except BrokerAwayError as error:
                    log.warning("events can't be heard, nothing is cached", error=error)
                else:
                    self._generation = generation

    async def _bind(self, channel: Channel) -> None:
        offers = [target.offer for target in self._routes.table.targets]
        wanted = sorted({topic for offer in offers for topic in _named(offer)} - self._bound)
        await channel.call(*topology.tidings(self._queue, *wanted[:MOST_TOPICS]))
        if channel is self._channel:
            self._bound |= set(wanted[:MOST_TOPICS])
            for hearer in self._hearers:
                hearer.hears(self._bound, offers)

    async def _set_up(self, wire: Wire) -> None:
        channel = await wire.channel()
        self._queue = topology.tidings_queue(self._owner, new_token())
        channel.on_content = self._heard
        consume = commands.Basic.Consume(queue=self._queue, no_ack=True)
        await channel.call(*topology.tidings(self._queue), consume)
        self._bound, self._generation, self._channel = frozenset(), -1, channel

    def _heard(self, message: Delivery | Returned) -> None:
        if isinstance(message, Returned):
            return
        try:
            data = json.loads(message.body)
        except (ValueError, RecursionError):
            data = None
        for hearer in self._hearers:
            hearer.news(message.key.decode(errors="replace"), data)

    def _lost(self) -> None:
        self._channel = None
        for hearer in self._hearers:
            hearer.is_deaf()


def _named(offer: Offer) -> Iterator[str]:
    for stale in (*(offer.cache.stale if offer.cache else ()), *(offer.stream.news if offer.stream else ())):
        yield stale.event
