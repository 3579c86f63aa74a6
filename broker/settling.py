"""What becomes of one message.

Promise: it is settled when its effect is committed, once, or when the failure is safely in a retry tier or in the dead
letters; what keeps killing the process is given up on long before the broker's own delivery limit, and only that: what
was prefetched beside it is not. While the database is away, messages wait for it and no attempt is counted. A handler
without a transaction hears its queue's messages one at a time, in the queue's order; without a database at least once.
What is of another version than is taken here is given up on unread: it is kept, and takes nobody's place.
"""

import asyncio
import contextlib
import time
from functools import cache, partial

import aio_pika
from pydantic import ValidationError

from broker import inbox, tracing
from broker.injection import Attempt, pick
from broker.lane import DEFAULT_SECONDS, Ask, Requester
from broker.logs import trace_of, working_on
from broker.message import Incoming, MalformedMessageError, incoming
from broker.outbox import Origin
from broker.reader import Reader
from broker.retries import Retries
from broker.service import Listener, Service
from broker.telemetry import DUPLICATES, MESSAGE_SECONDS, PARKED, REDELIVERIES, begin_at_zero, log
from broker.transaction import Database, DatabaseAwayError, Transaction, UndeclaredMessageError
from contracts.base import Said

PAUSE = 1.0
"""Between attempts to settle a message, in seconds, where the fault is not the message's."""
DELIVERIES_BEFORE_GIVING_UP = 5
DELIVERIES_BEFORE_SUSPICION = 2
"""A message delivered so often before is tried alone, so that it is known which one ends the process."""
DELIVERIES_BEFORE_RENEWAL = 12
"""Suspects that wait are delivered again, too: they go home as fresh messages before the broker loses patience (20)."""
_seconds = cache(MESSAGE_SECONDS.labels)


class KilledTheServiceError(Exception):
    """The message was delivered again and again and never acknowledged: it probably ends whoever tries it."""


class Settlement:
    """Settles the messages of one service."""

    def __init__(self, service: Service, database: Database | None, *, requester: Requester, retries: Retries) -> None:
        self._service = service
        self._database = database
        self._requester = requester
        self._retries = retries
        self._joined: inbox.Joined = {}
        self._alone = asyncio.Lock()
        self._one_at_a_time = {listener.queue: asyncio.Lock() for listener in service.listeners.values()}
        begin_at_zero(self._one_at_a_time)

    async def join(self) -> None:
        """Note since when each topic is heard: what is said from now on is waited for in order."""
        if self._database is not None:
            ordered = {topic for topic, listener in self._service.listeners.items() if listener.ordered}
            self._joined = await self._database.transact(Origin("start"), lambda tx: inbox.join(tx.connection, ordered))

    async def settle(self, listener: Listener, raw: aio_pika.abc.AbstractIncomingMessage) -> None:
        """Have the effect, or pass the failure on; afterwards the message may be acknowledged."""
        if raw.redelivered:
            REDELIVERIES.labels(listener.queue).inc()
            log.info("a message was delivered again", queue=listener.queue)
        try:
            message = _for(listener, raw)
        except MalformedMessageError as error:
            await self._retries.bury(listener.queue, raw.body, dict(raw.headers), error)
            return
        working_on(partial(_ids, message))
        deliveries = _deliveries(raw)
        while True:
            try:
                await self._try(listener, message, deliveries)
                return
            except DatabaseAwayError as error:
                log.warning("a message waits for the database", error=error)
                await self._until_the_database_is_back()
            except Exception:
                # Raised by the passing on itself. Letting go now would keep the message unacknowledged for ever.
                log.exception("a message could not be settled, trying on")
                await asyncio.sleep(PAUSE)

    async def _until_the_database_is_back(self) -> None:
        while self._database is not None:
            with contextlib.suppress(DatabaseAwayError):
                async with self._database.reading():
                    return
            await asyncio.sleep(PAUSE)

    async def _try(self, listener: Listener, message: Incoming, deliveries: int) -> None:
        try:
            if self._database is None:
                _must_not_kill(deliveries)
                await self._effect(listener, message)
            elif deliveries >= DELIVERIES_BEFORE_RENEWAL:
                await self._retries.renew(message)
            elif deliveries >= DELIVERIES_BEFORE_SUSPICION:
                await self._effect_alone(self._database, listener, message)
            else:
                await self._effect(listener, message)
        except DatabaseAwayError:
            raise
        except (MalformedMessageError, KilledTheServiceError, UndeclaredMessageError) as error:
            tracing.fail(error)
            await self._give_up(message, error)
        except Exception as error:
            tracing.fail(error)
            tier = self._retries.tier_for(message.attempt)
            if tier is None:
                await self._give_up(message, error)
            else:
                await self._retries.try_again(message, tier, error)

    async def _effect_alone(self, database: Database, listener: Listener, message: Incoming) -> None:
        """Try a suspect while no other suspect is tried, and keep a note that it is being tried.

        The note outlives a suspect that is given up on: another one may end the process before it is acknowledged.
        """
        async with self._alone:
            before = await database.transact(message.origin, lambda tx: inbox.suspect(tx.connection, message))
            _must_not_kill(DELIVERIES_BEFORE_SUSPICION + before)
            try:
                await self._effect(listener, message)
            finally:
                await database.transact(message.origin, lambda tx: inbox.acquit(tx.connection, message))

    async def _effect(self, listener: Listener, message: Incoming) -> None:
        began = time.perf_counter()
        try:
            said = listener.message.model_validate_json(message.body)
        except ValidationError as error:
            raise MalformedMessageError(str(error)) from error
        reader = None if self._database is None else self._database.reader
        given = {**self._service.provided, Attempt: Attempt(message.attempt), Reader: reader}
        given[Ask] = Ask(self._requester, time.time() + DEFAULT_SECONDS, traceparent=message.origin.traceparent)
        if listener.first is not None:
            given[listener.first.gives] = await listener.first.handler(said, **pick(listener.first.wants, given))
        database = self._database
        takes_turns = database is None or Transaction not in listener.wants.values()
        async with self._one_at_a_time[listener.queue] if takes_turns else contextlib.nullcontext():
            if database is None:
                await listener.handler(said, **pick(listener.wants, given))
                is_ours = True
            else:
                is_ours = await database.transact(
                    message.origin, lambda tx: self._once(listener, message, said, given, tx)
                )
        if is_ours:
            _seconds(listener.queue).observe(time.perf_counter() - began)

    async def _once(
        self, listener: Listener, message: Incoming, said: Said, given: dict[object, object], transaction: Transaction
    ) -> bool:
        """Have the effect, if this message is the one to have it."""
        claim = await inbox.claim(transaction, message, self._joined)
        if claim is not inbox.Claim.OURS:
            _note(claim, message, transaction)
            return False
        await listener.handler(said, **pick(listener.wants, {**given, Transaction: transaction}))
        return True

    async def _give_up(self, message: Incoming, error: Exception) -> None:
        """Bury the message and release who waits for it, unless it must wait itself: giving up has its order, too."""
        if self._database is None:
            await self._retries.bury(message.queue, message.body, message.headers, error)
        elif await self._database.transact(message.origin, lambda tx: self._is_due(tx, message)):
            await self._retries.bury(message.queue, message.body, message.headers, error)
            if inbox.is_ordered(message, self._joined):
                await self._database.transact(message.origin, lambda tx: inbox.claim(tx, message, self._joined))

    async def _is_due(self, transaction: Transaction, message: Incoming) -> bool:
        claim = await inbox.claim(transaction, message, self._joined)
        if claim is inbox.Claim.OURS:
            transaction.abandon()
        else:
            _note(claim, message, transaction)
        return claim is inbox.Claim.OURS


def _for(listener: Listener, raw: aio_pika.abc.AbstractIncomingMessage) -> Incoming:
    """The message, which is what the listener takes: another version of it may look the same and mean something else.
    Raises MalformedMessageError."""
    message, expected = incoming(listener.queue, raw.headers, raw.body), listener.message.topic
    if message.topic != expected:
        raise MalformedMessageError(f"this is {message.topic}, and {expected} is taken here")
    return message


def _ids(message: Incoming) -> dict[str, str | None]:
    origin = message.origin
    return {
        "queue": message.queue,
        "message_id": message.id,
        "aggregate": message.aggregate,
        "correlation_id": origin.correlation_id,
        "trace": trace_of(origin.traceparent),
    }


def _note(claim: inbox.Claim, message: Incoming, transaction: Transaction) -> None:
    """Count what is not ours; a parked message needs the transaction, a duplicate does not."""
    if claim is inbox.Claim.DUPLICATE:
        transaction.abandon()
        DUPLICATES.labels(message.queue).inc()
        log.info("a duplicate was suppressed")
    else:
        PARKED.labels(message.queue).inc()


def _deliveries(raw: aio_pika.abc.AbstractIncomingMessage) -> int:
    """How often the message was delivered before, as its quorum queue counts."""
    count = raw.headers.get("x-delivery-count", 0) if raw.redelivered else 0
    return count if isinstance(count, int) else 0


def _must_not_kill(deliveries: int) -> None:
    if deliveries >= DELIVERIES_BEFORE_GIVING_UP:
        raise KilledTheServiceError(f"delivered {deliveries} times and never acknowledged")
