"""Who hears hello, beat and bye, and finds out who is missing.

Promise: a `Watcher` keeps a `Registry` true: it knows every instance within the time of one roll call after it
connects, knows the services that are away from the stream of accepted manifests, and asks the broker who consumes as
soon as a beat is missed. Messages without a broker-validated user id are ignored.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, cast

from pamqp import commands
from pydantic import ValidationError

from broker import topology
from broker.ids import new_id, new_token
from broker.lane.wire.channel import Channel
from broker.lane.wire.connection import NOT_FOUND, ClosedByBrokerError, Wire
from broker.lane.wire.fields import MalformedPropertiesError, read_properties
from broker.lane.wire.frames import Delivery, Returned
from broker.lane.wire.link import WireLink
from broker.presence import Voice
from broker.publisher import Publisher
from broker.reconnecting import BrokerAwayError
from broker.registry import Registry
from broker.shared import ensure_on_wire
from broker.telemetry import REFUSED_CLAIMS, log
from contracts.presence import Accepted, Beat, Bye, Hello, Refused, RollCall

ROLL_CALL_AT_MOST_EVERY = 0.5
ROLL_CALL_TAKES = 0.2
"""How long hellos may take to arrive until those who are there count as known, in seconds."""
_PREFETCH = 200


class Watcher:
    """Keeps a registry true over one link. The link is a wire, whatever carries the lane: hundreds of instances that
    beat cost the edge a tenth of what they cost by aio-pika."""

    def __init__(self, registry: Registry, link: WireLink, *, publisher: Publisher, owner: str) -> None:
        self.registry = registry
        self.known = asyncio.Event()
        """Set once the manifests are read and the roll has been called."""
        self._id = new_id()
        self._link = link
        self._owner = owner
        self._voice = Voice(publisher)
        self._publishing = publisher.link
        self._kept: dict[str, tuple[str, str]] = {}
        self._called_at = -math.inf
        self._replayed = asyncio.Event()
        self._asking: Channel | None = None
        self._saying: set[asyncio.Task[None]] = set()
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

    async def _consumers(self, service: str) -> int | None:
        """None where the broker can't be asked right now: that says nothing about the service."""
        wire = self._link.connection
        if wire is None:
            return None
        question = commands.Queue.Declare(queue=topology.requests_queue(service), passive=True)
        try:
            if self._asking is None or self._asking.error is not None:
                self._asking = await wire.channel()
                self._asking.on_end = lambda error: None  # a queue that is not there closes the channel, not the wire
            return cast(commands.Queue.DeclareOk, await self._asking.call(question)).consumer_count or 0
        except ClosedByBrokerError as error:
            return 0 if error.code == NOT_FOUND else None
        except BrokerAwayError:
            return None

    async def _set_up(self, wire: Wire) -> None:
        await ensure_on_wire(wire)
        channel = await wire.channel()
        await self._publishing.wait_up(within=5)
        await self._replay(await wire.channel())
        queue = topology.presence_queue(self._owner, new_token())
        channel.on_content = self._hear
        await channel.call(*topology.presence(queue, *(f"{kind.topic}.#" for kind in (Hello, Beat, Bye))))
        await channel.call(commands.Basic.Consume(queue=queue, no_ack=True))
        await self._call_the_roll()
        await asyncio.sleep(ROLL_CALL_TAKES)
        self.known.set()

    async def _replay(self, channel: Channel) -> None:
        """Hear what other edges accepted, from the beginning and from now on; returns when the past is known."""
        marker = new_token()
        self._replayed.clear()
        channel.on_content = partial(self._remember, channel, marker)
        consume = commands.Basic.Consume(queue=topology.MANIFESTS, arguments={"x-stream-offset": "first"})
        await channel.call(commands.Basic.Qos(prefetch_count=_PREFETCH), consume)
        await self._voice.say(RollCall(asked_by=self._id), f"{Accepted.topic}.{marker}")
        async with asyncio.timeout(10):
            await self._replayed.wait()

    async def _call_the_roll(self) -> None:
        self._called_at = time.monotonic()
        await self._voice.say(RollCall(asked_by=self._id), RollCall.topic)

    def _remember(self, channel: Channel, marker: str, message: Delivery | Returned) -> None:
        if isinstance(message, Returned):
            return
        channel.send(commands.Basic.Ack(message.tag))
        if _key(message) == f"{Accepted.topic}.{marker}":
            self._replayed.set()
        if not self.registry.trusts(_login(message)):
            REFUSED_CLAIMS.labels("not an edge").inc()
            return
        with contextlib.suppress(ValidationError):  # the markers of other edges
            accepted = Accepted.model_validate_json(message.body)
            self._kept[accepted.manifest.service] = (accepted.manifest.digest, accepted.login)
            self.registry.accept(accepted.manifest, login=accepted.login, newest=accepted.newest)

    def _hear(self, message: Delivery | Returned) -> None:
        if isinstance(message, Returned):
            return
        login, key, now = _login(message), _key(message), time.monotonic()
        if login is None:
            REFUSED_CLAIMS.labels("no user id").inc()
            return
        try:
            if key.startswith(Beat.topic):
                known = self.registry.beat(Beat.model_validate_json(message.body), login=login, now=now)
                if not known and now - self._called_at > ROLL_CALL_AT_MOST_EVERY:
                    self._called_at = now
                    self._soon(self._call_the_roll())
            elif key.startswith(Hello.topic):
                self._greet(Hello.model_validate_json(message.body), login, now)
            elif key.startswith(Bye.topic):
                self.registry.bye(Bye.model_validate_json(message.body), login=login)
        except ValidationError as error:
            REFUSED_CLAIMS.labels("not a presence message").inc()
            log.warning("a presence message was refused", login=login, key=key, error=error)

    def _greet(self, hello: Hello, login: str, now: float) -> None:
        known = self.registry.services.get(hello.manifest.service)
        is_new = known is None or hello.instance not in known.instances
        if not self.registry.hello(hello, login=login, now=now):
            return
        if is_new:
            self._tell_refusals(hello.manifest.service, login)
        record = self.registry.services[hello.manifest.service]
        kept = (record.manifest.digest, record.login)
        if self._kept.get(record.name) != kept:
            self._kept[record.name] = kept
            accepted = Accepted(login=record.login, manifest=record.manifest, newest=record.newest)
            self._soon(self._voice.say(accepted, f"{Accepted.topic}.{record.name}"))

    def _tell_refusals(self, service: str, login: str) -> None:
        for refused in self.registry.refused:
            if (refused.service, refused.login) == (service, login):
                told = Refused(service=service, claim=refused.claim, reason=refused.reason)
                self._soon(self._voice.say(told, f"{Refused.topic}.{service}"))

    def _soon(self, saying: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(saying)
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)


def _key(message: Delivery) -> str:
    return message.key.decode(errors="replace")


def _login(message: Delivery) -> str | None:
    """Who says it, as the broker validated."""
    with contextlib.suppress(MalformedPropertiesError):
        return read_properties(message.properties).user_id
    return None
