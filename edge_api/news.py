"""Hearing of the events that make answers stale.

Promise: the cache keeps an answer only while every event that could make it stale is heard. An event is heard from the
moment its binding is confirmed; when the connection is lost, the cache is told before anything else happens.
"""

import asyncio
import json

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
from edge_api.cache import Cache
from edge_api.routing import Routes

LOOK_EVERY = 0.5
MOST_TOPICS = 1000


class News:
    """Feeds a cache over one link, with what the accepted manifests name."""

    def __init__(self, link: WireLink, routes: Routes, cache: Cache, *, owner: str) -> None:
        self._link = link
        self._routes = routes
        self._cache = cache
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
        offers = [target.offer for target in self._routes.table.targets if target.offer.cache is not None]
        wanted = sorted({topic for offer in offers for topic in _stale(offer)} - self._bound)
        await channel.call(*topology.tidings(self._queue, *wanted[:MOST_TOPICS]))
        if channel is self._channel:
            self._bound |= set(wanted[:MOST_TOPICS])
            self._cache.hears(self._bound, offers)

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
        self._cache.news(message.key.decode(errors="replace"), data)

    def _lost(self) -> None:
        self._channel = None
        self._cache.is_deaf()


def _stale(offer: Offer) -> tuple[str, ...]:
    return tuple(stale.event for stale in offer.cache.stale) if offer.cache else ()
