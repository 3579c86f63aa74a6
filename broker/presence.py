"""Hello, beat, bye: how an instance of a service makes itself known.

Promise: a `Herald` says hello at every connect and whenever the roll is called, beats every two seconds and says bye.
Who listens is the `Watcher` (broker/watcher.py).
"""

import asyncio
import contextlib
from datetime import UTC, datetime

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from pydantic import ValidationError

from broker import topology
from broker.connection import Link, declare
from broker.ids import new_id, new_token
from broker.liveness import Liveness
from broker.publisher import Publisher, PublishRefusedError
from broker.reconnecting import BrokerAwayError
from broker.telemetry import log
from contracts.base import Message
from contracts.presence import Beat, Bye, Hello, Manifest, Refused, RollCall

BEAT_EVERY = 2.0


class Voice:
    """Says presence messages with the login that the broker validates; says nothing while the broker is away."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def say(self, message: Message, key: str) -> None:
        """Publish; a message that can't be sent is not missed, because another follows."""
        with contextlib.suppress(BrokerAwayError, PublishRefusedError):
            await self._publisher.publish(
                topology.PRESENCE,
                key,
                message.model_dump_json().encode(),
                {},
                mandatory=False,
                within=2,
                persistent=False,
                user_id=self._publisher.link.login,
            )


class Herald:
    """Speaks for one instance of a service."""

    def __init__(self, manifest: Manifest, *, publisher: Publisher, consuming: Link, liveness: Liveness) -> None:
        self.instance = new_id()
        self._manifest = manifest
        self._started_at = datetime.now(UTC)
        self._liveness = liveness
        self._voice = Voice(publisher)
        self._publishing = publisher.link
        self._consuming = consuming
        self._left = False
        self._told: set[Refused] = set()
        consuming.on_connect(self._listen_to_roll_calls)

    async def beat_forever(self) -> None:
        """Beat until cancelled."""
        service, digest = self._manifest.service, self._manifest.digest
        while not self._left:
            ages = self._liveness.ages()
            consumed = tuple(int(ages.get(queue, 0)) for queue in topology.consumed_queues(self._manifest))
            load = self._liveness.load
            beat = Beat(instance=self.instance, service=service, digest=digest, load=load, consumed=consumed)
            await self._voice.say(beat, f"{Beat.topic}.{service}")
            await asyncio.sleep(BEAT_EVERY)

    async def bye(self) -> None:
        """Tell that this instance takes nothing more, and be silent from then on: who beats is called for."""
        self._left = True
        service = self._manifest.service
        await self._voice.say(Bye(instance=self.instance, service=service), f"{Bye.topic}.{service}")

    async def _hello(self) -> None:
        with contextlib.suppress(BrokerAwayError):
            await self._publishing.wait_up(within=5)
        if self._left:
            return
        hello = Hello(instance=self.instance, manifest=self._manifest, started_at=self._started_at)
        await self._voice.say(hello, f"{Hello.topic}.{self._manifest.service}")

    async def _listen_to_roll_calls(self, connection: AbstractConnection) -> None:
        channel = await self._consuming.channel(connection)
        service = self._manifest.service
        name = topology.presence_queue(service, new_token())
        await declare(channel, topology.presence(name, RollCall.topic, f"{Refused.topic}.{service}"))
        queue = await channel.get_queue(name, ensure=False)
        await queue.consume(self._hear, no_ack=True)
        await self._hello()

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        if message.routing_key == RollCall.topic:
            await self._hello()
            return
        with contextlib.suppress(ValidationError):
            refused = Refused.model_validate_json(message.body)
            if refused not in self._told:
                self._told.add(refused)
                log.warning("a claim of this service was refused", claim=refused.claim, reason=refused.reason)
