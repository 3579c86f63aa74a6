"""What becomes of a request that was delivered, whoever carries it.

Promise: one that may have killed a worker is tried alone, and refused when it did so twice; work past its deadline is
never started, however long it waited in a prefetch buffer; nothing is written to an address that is not a reply queue.
A request is acknowledged when its reply is sent, or its copy is confirmed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from broker import topology
from broker.ids import new_token
from broker.lane import Answer, Answering, refuse
from broker.lane.headers import MalformedRequestError, deadline_of, request_from
from broker.publisher import Publisher, PublishRefusedError
from broker.reconnecting import BrokerAwayError
from broker.telemetry import LANE_DROPPED, REDELIVERIES, log
from contracts.base import request_failed, request_poisoned

PREFETCH = 64
REQUEST_BODY_KEPT = 100_000
PATIENCE = 30.0


@dataclass(slots=True)
class Delivered:
    """A request as it came."""

    key: str
    body: bytes
    headers: Mapping[str, Any]
    redelivered: bool
    correlation_id: str | None
    reply_to: str | None
    message_id: str | None
    expiration: str | None
    acknowledge: Callable[[], Awaitable[None]]

    @property
    def seconds_left(self) -> float:
        """What it has left of its time, 0 where that can't be told."""
        try:
            return max(0.0, deadline_of(self.headers) - time.time())
        except (KeyError, TypeError, ValueError):
            return 0.0


Reply = Callable[[str, str | None, Answer, float], Awaitable[None]]
"""Sends an answer to a reply queue, with a correlation id, within so many seconds. Raises BrokerAwayError."""


class Taking:
    """Answers a service's requests with `answering`."""

    def __init__(self, service: str, answering: Answering, reply: Reply, publisher: Publisher) -> None:
        self._service = service
        self._queue = topology.requests_queue(service)
        self._answering = answering
        self._reply_with = reply
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
        """Answer what was set aside; what is delivered again here has killed the service twice."""
        topic = str(request.headers.get("suspected-topic", ""))
        # Ending this process before its original is acknowledged, a suspect would come back as a new one.
        async with self._setting_aside:
            pass
        if not request.redelivered:
            await self._answer(request, topic)
        else:
            log.error("a request killed the service twice, it is kept in the dead letters", topic=topic)
            await self._reply(request, refuse(request_poisoned()))
            await self._set_aside(request, topology.DEAD_LETTERS, topology.suspects_queue(self._service))
        await request.acknowledge()

    async def _answer(self, delivered: Delivered, topic: str) -> None:
        try:
            default_id = delivered.message_id or new_token()
            request = request_from(topic, delivered.body, delivered.headers, default_id=default_id)
        except MalformedRequestError as error:
            LANE_DROPPED.labels("malformed").inc()
            log.warning("a request was dropped", topic=topic, error=str(error)[:300])
            return
        if request.seconds_left <= 0:
            LANE_DROPPED.labels("expired").inc()
            return
        try:
            answer = await self._answering(request)
        except Exception:
            log.exception("a request failed", topic=topic)
            answer = refuse(request_failed())
        await self._reply(delivered, answer)

    async def _reply(self, request: Delivered, answer: Answer) -> None:
        queue, _, exchange = (request.reply_to or "").partition("|")
        if exchange != topology.REPLIES:  # nobody waits, or somebody wants us to write elsewhere
            return
        left = request.seconds_left
        if left <= 0:
            LANE_DROPPED.labels("answered-late").inc()
            return
        try:
            await self._reply_with(queue, request.correlation_id, answer, left)
        except BrokerAwayError as error:
            LANE_DROPPED.labels("reply-not-sent").inc()
            log.warning("a reply could not be sent", topic=request.key, error=repr(error))

    async def _set_aside(self, request: Delivered, exchange: str, key: str) -> None:
        """Pass a copy on. One that can't be passed on is given up: a request that stays unacknowledged would block
        those behind it."""
        for_later = exchange == topology.DEAD_LETTERS
        try:
            await self._publisher.publish(
                exchange,
                key,
                request.body[:REQUEST_BODY_KEPT] if for_later else request.body,
                {"suspected-topic": request.key, **request.headers},
                mandatory=True,
                within=PATIENCE if for_later else request.seconds_left,
                persistent=for_later,
                correlation_id=request.correlation_id,
                reply_to=request.reply_to,
                expiration=None if for_later else request.expiration,
            )
        except (BrokerAwayError, PublishRefusedError) as error:
            LANE_DROPPED.labels("not-set-aside").inc()
            log.error("a request that was delivered again is lost", topic=request.key, error=repr(error))
