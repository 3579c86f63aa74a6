"""Who hears hello, beat and bye, and finds out who is missing.

Promise: a `Watcher` keeps a `Registry` true: it knows every instance within the time of one roll call after it
connects, knows the services that are away from the stream of accepted manifests, and asks the broker who consumes as
soon as a beat is missed. Messages without a broker-validated user id are ignored.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from pydantic import ValidationError

from broker import topology
from broker.connection import Link, declare
from broker.ids import new_id, new_token
from broker.presence import Voice, own_queue
from broker.publisher import Publisher
from broker.registry import Registry
from broker.telemetry import REFUSED_CLAIMS, log
from contracts.presence import Accepted, Beat, Bye, Hello, Refused, RollCall

ROLL_CALL_AT_MOST_EVERY = 0.5
ROLL_CALL_TAKES = 0.2
"""How long hellos may take to arrive until those who are there count as known, in seconds."""


class Watcher:
    """Keeps a registry true over one link; `on_change` is called after every change."""

    def __init__(
        self,
        registry: Registry,
        link: Link,
        *,
        publisher: Publisher,
        owner: str,
        on_change: Callable[[], None],
    ) -> None:
        self.registry = registry
        self.known = asyncio.Event()
        """Set once the manifests are read and the roll has been called."""
        self._id = new_id()
        self._link = link
        self._owner = owner
        self._on_change = on_change
        self._voice = Voice(publisher)
        self._publishing = publisher.link
        self._kept: dict[str, str] = {}
        self._called_at = -math.inf
        self._replayed = asyncio.Event()
        link.on_connect(self._set_up)

    async def watch_forever(self) -> None:
        """Look after missed beats until cancelled."""
        while True:
            await asyncio.sleep(0.5)
            now = time.monotonic()
            for service in self.registry.late(now=now):
                if self._link.is_up and await self._consumers(service) == 0:
                    log.warning("nobody consumes the requests of a service, it is away", service_away=service)
                    self.registry.nobody_consumes(service, since=now)
            if self._link.is_up:
                self.registry.forget_the_lost(now=now)
            self._on_change()

    async def _consumers(self, service: str) -> int | None:
        """None where the broker can't be asked right now: that says nothing about the service."""
        connection = self._link.connection
        if connection is None:
            return None
        try:
            async with asyncio.timeout(2), connection.channel() as channel:
                queue = await channel.declare_queue(topology.requests_queue(service), passive=True)
                return queue.declaration_result.consumer_count or 0
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return 0
        except (aio_pika.exceptions.AMQPError, RuntimeError, TimeoutError):
            return None

    async def _set_up(self, connection: AbstractConnection) -> None:
        channel = await self._link.channel(connection)
        await declare(channel, topology.exchanges())
        await channel.set_qos(prefetch_count=200)
        await self._publishing.wait_up(within=5)
        self._replayed.clear()
        marker = new_token()
        manifests = await channel.get_queue(topology.MANIFESTS, ensure=False)

        async def remember(message: AbstractIncomingMessage) -> None:
            await self._remember(message, marker)

        await manifests.consume(remember, arguments={"x-stream-offset": "first"})
        await self._voice.say(RollCall(asked_by=self._id), f"{Accepted.topic}.{marker}")
        await asyncio.wait_for(self._replayed.wait(), 10)
        queue = await own_queue(channel, self._owner)
        for message in (Hello, Beat, Bye):
            await queue.bind(topology.PRESENCE, f"{message.topic}.#")
        await queue.consume(self._hear, no_ack=True)
        await self._call_the_roll()
        await asyncio.sleep(ROLL_CALL_TAKES)
        self.known.set()

    async def _call_the_roll(self) -> None:
        self._called_at = time.monotonic()
        await self._voice.say(RollCall(asked_by=self._id), RollCall.topic)

    async def _remember(self, message: AbstractIncomingMessage, marker: str) -> None:
        with contextlib.suppress(aio_pika.exceptions.AMQPError, RuntimeError):
            await message.ack()
        if message.routing_key == f"{Accepted.topic}.{marker}":
            self._replayed.set()
        if not self.registry.trusts(message.user_id):
            REFUSED_CLAIMS.labels("not an edge").inc()
            return
        with contextlib.suppress(ValidationError):  # the markers of other edges
            accepted = Accepted.model_validate_json(message.body)
            self._kept[accepted.manifest.service] = accepted.manifest.digest
            self.registry.accept(accepted.manifest, login=accepted.login, newest=accepted.newest)
            self._on_change()

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        login, key, now = message.user_id, message.routing_key or "", time.monotonic()
        if login is None:
            REFUSED_CLAIMS.labels("no user id").inc()
            return
        try:
            if key.startswith(Hello.topic):
                await self._greet(Hello.model_validate_json(message.body), login, now)
            elif key.startswith(Beat.topic):
                known = self.registry.beat(Beat.model_validate_json(message.body), login=login, now=now)
                if not known and now - self._called_at > ROLL_CALL_AT_MOST_EVERY:
                    await self._call_the_roll()
            elif key.startswith(Bye.topic):
                self.registry.bye(Bye.model_validate_json(message.body), login=login)
        except ValidationError as error:
            REFUSED_CLAIMS.labels("not a presence message").inc()
            log.warning("a presence message was refused", login=login, key=key, error=str(error)[:300])
        self._on_change()

    async def _greet(self, hello: Hello, login: str, now: float) -> None:
        known = self.registry.services.get(hello.manifest.service)
        is_new = known is None or hello.instance not in known.instances
        if not self.registry.hello(hello, login=login, now=now):
            return
        if is_new:
            await self._tell_refusals(hello.manifest.service, login)
        record = self.registry.services[hello.manifest.service]
        digest = record.manifest.digest
        if self._kept.get(record.name) != digest:
            self._kept[record.name] = digest
            accepted = Accepted(login=record.login, manifest=record.manifest, newest=record.newest)
            await self._voice.say(accepted, f"{Accepted.topic}.{record.name}")

    async def _tell_refusals(self, service: str, login: str) -> None:
        for refused in self.registry.refused:
            if (refused.service, refused.login) == (service, login):
                told = Refused(service=service, claim=refused.claim, reason=refused.reason)
                await self._voice.say(told, f"{Refused.topic}.{service}")
