"""What becomes of a request that was delivered, whoever carries it.

Promise: one that may have killed a worker is tried alone, and refused when it did so three times; work past its
deadline is never started, however long it waited in a prefetch buffer; nothing is written to an address that is not a
reply queue. A request is acknowledged when its reply is sent, or its copy is confirmed or given up. What is kept of one
that was refused shows its form and its numbers, and no word that its caller wrote.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from broker import topology
from broker.lane import Answer, Answering, refuse
from broker.lane.headers import MalformedRequestError, deadline_of, request_from
from broker.lane.wire.fields import Properties
from broker.masking import MASK
from broker.publisher import Publisher, PublishRefusedError
from broker.reconnecting import BrokerAwayError
from broker.telemetry import LANE_DROPPED, REDELIVERIES, log
from contracts.base import request_failed, request_poisoned

TOPIC, DEATHS = "suspected-topic", "suspected-deaths"
"""Headers of what is tried alone: what it was sent to, and how often the service has died of it meanwhile."""
TRIES_ALONE = 2
"""After a first death. With one, whoever happens to be tried when something else ends the service would be refused."""
REQUEST_BODY_KEPT = 100_000
"""How many bytes a request that was refused so may have, to be kept."""
KEEP_WITHIN = 30.0
"""How long keeping it may take, in seconds; its caller has been answered."""

_WRITTEN = ("params", "idempotency-key")
"""Headers with what the caller wrote."""

Reply = Callable[[str, str | None, Answer, float], Awaitable[None]]
"""Sends an answer to a reply queue, with a correlation id, within so many seconds. Raises BrokerAwayError."""


@dataclass(slots=True)
class Delivered:
    """A request as it came, and how to answer and to acknowledge it."""

    key: str
    body: bytes
    properties: Properties
    redelivered: bool
    reply: Reply
    acknowledge: Callable[[], Awaitable[None]]

    @property
    def deadline(self) -> float:
        """0 where that can't be told."""
        try:
            return deadline_of(self.properties.headers)
        except (KeyError, TypeError, ValueError):
            return 0.0


class Taking:
    """Answers a service's requests with `answering`."""

    def __init__(self, service: str, answering: Answering, publisher: Publisher) -> None:
        self._service = service
        self._queue = topology.requests_queue(service)
        self._answering = answering
        self._publisher = publisher
        self._setting_aside = asyncio.Lock()

    async def take(self, request: Delivered) -> None:
        """Answer, or set aside what was delivered before."""
        if not request.redelivered:
            await self._answer(request, request.key)
            await request.acknowledge()
            return
        REDELIVERIES.labels(self._queue).inc()
        log.warning("a request was delivered again, it is tried alone", topic=request.key)
        async with self._setting_aside:
            await self._set_aside(request, topology.REQUESTS, topology.suspects_key(self._service))
            await request.acknowledge()

    async def take_suspect(self, request: Delivered) -> None:
        """Answer what was set aside; what is delivered again here was tried when the service died."""
        topic, died = str(request.properties.headers.get(TOPIC, "")), _deaths(request) + 1
        # A suspect that ended this process before its original is acknowledged would come back as a new one.
        async with self._setting_aside:
            pass
        if not request.redelivered:
            await self._answer(request, topic)
        elif died < TRIES_ALONE:
            log.warning("a request was tried alone when the service died, it is tried once more", topic=topic)
            await self._set_aside(request, topology.REQUESTS, topology.suspects_key(self._service), died=died)
        else:
            log.error("a request killed the service again and again, it is kept in the dead letters", topic=topic)
            await self._reply(request, refuse(request_poisoned()), request.deadline)
            await self._set_aside(request, topology.DEAD_LETTERS, topology.suspects_queue(self._service), died=died)
        await request.acknowledge()

    async def _answer(self, delivered: Delivered, topic: str) -> None:
        try:
            properties = delivered.properties
            request = request_from(topic, delivered.body, properties.headers, default_id=properties.message_id)
        except MalformedRequestError as error:
            LANE_DROPPED.labels("malformed").inc()
            log.warning("a request was dropped", topic=topic, error=error)
            return
        if request.seconds_left <= 0:
            LANE_DROPPED.labels("expired").inc()
            return
        try:
            answer = await self._answering(request)
        except Exception:
            log.exception("a request failed", topic=topic)
            answer = refuse(request_failed())
        await self._reply(delivered, answer, request.deadline)

    async def _reply(self, request: Delivered, answer: Answer, deadline: float) -> None:
        queue, _, exchange = (request.properties.reply_to or "").partition("|")
        if exchange != topology.REPLIES:  # nobody waits, or somebody wants us to write elsewhere
            return
        left = deadline - time.time()
        if left <= 0:
            LANE_DROPPED.labels("answered-late").inc()
            return
        try:
            await request.reply(queue, request.properties.correlation_id, answer, left)
        except BrokerAwayError as error:
            LANE_DROPPED.labels("reply-not-sent").inc()
            log.warning("a reply could not be sent", topic=request.key, error=error)

    async def _set_aside(self, request: Delivered, exchange: str, key: str, *, died: int = 0) -> None:
        """Pass a copy on. One that can't be passed on is given up: a request that stays unacknowledged would block
        those behind it."""
        properties, for_later = request.properties, exchange == topology.DEAD_LETTERS
        headers = {TOPIC: request.key, **properties.headers, DEATHS: died}
        try:
            await self._publisher.publish(
                exchange,
                key,
                _without_words(request.body) if for_later else request.body,
                {name: fact for name, fact in headers.items() if name not in _WRITTEN} if for_later else headers,
                mandatory=True,
                within=KEEP_WITHIN if for_later else max(0.0, request.deadline - time.time()),
                persistent=for_later,
                correlation_id=properties.correlation_id,
                reply_to=properties.reply_to,
                expiration=None if for_later else properties.expiration,
            )
        except (BrokerAwayError, PublishRefusedError) as error:
            LANE_DROPPED.labels("not-set-aside").inc()
            log.error("a request that was delivered again is lost", topic=request.key, error=error)


def _without_words(body: bytes) -> bytes:
    """The body with a mask for each text; nothing of one that is no JSON, or larger than what is kept."""
    try:
        return json.dumps(_masked(json.loads(body))).encode() if len(body) <= REQUEST_BODY_KEPT else b""
    except (ValueError, RecursionError):
        return b""


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_masked(part) for part in value]
    return MASK if isinstance(value, str) else value


def _deaths(request: Delivered) -> int:
    died = request.properties.headers.get(DEATHS)
    return died if isinstance(died, int) else 0
