"""From a request to its answer: who may ask, what is asked, has it been answered, answer it.

Promise: whatever a handler does, the caller gets a reply or a refusal; a handler that raises is a defect (500, logged
with its stack) unless something it needs is away for a moment (503); nothing is worked on past its deadline
(but for a tick).
"""

import json
import time
from collections.abc import Iterable
from functools import cache, lru_cache, partial
from typing import Any

from prometheus_client import Counter

from broker import answers, tracing
from broker.injection import pick
from broker.lane import Answer, Ask, LaneError, Request, Requester, refuse
from broker.logs import trace_of, working_on
from broker.outbox import Origin
from broker.reader import Json, Reader
from broker.reading import read
from broker.reconnecting import BrokerAwayError
from broker.service import Answerer, Service, Stage
from broker.shared_timer import SharedTimer, TimeIsUpError
from broker.telemetry import REQUEST_SECONDS, REQUESTS, log
from broker.transaction import Database, Transaction, was_broken_off
from contracts import base
from contracts.base import (
    Caller,
    Operation,
    Refusal,
    RefusalKind,
    Said,
    deadline_passed,
    nobody_there,
    request_failed,
    temporarily_unavailable,
)

MOST_NEWS = 16_384
"""Bytes of news in the headers of an answer, which must fit into one frame."""
TICK_SECONDS = 0.05
"""How late it may be noticed that a deadline has passed."""
_REPLIED, _OTHER = "replied", "other"
_OF_THE_PLATFORM = {kind.slug for kind in vars(base).values() if isinstance(kind, RefusalKind)}
_seconds = cache(REQUEST_SECONDS.labels)


@lru_cache(maxsize=4096)
def _answered(operation: type[Operation[Any]], outcome: str) -> Counter:
    """A refusal that the operation does not declare (another service's, passed on) shares its label with all others."""
    declared = {_REPLIED, *_OF_THE_PLATFORM, *(kind.slug for kind in operation.refusals)}
    return REQUESTS.labels(operation.topic, outcome if outcome in declared else _OTHER)


class Answering:
    """Answers the operations of one service."""

    def __init__(self, service: Service, database: Database | None, requester: Requester) -> None:
        self._service = service
        self._database = database
        self._requester = requester
        self._timer = SharedTimer(tick=TICK_SECONDS)

    async def __call__(self, request: Request) -> Answer:
        """The answer; never raises."""
        began = time.perf_counter()
        working_on(partial(_ids, request))
        answerer = self._service.answerers.get(request.topic)
        outcome: Answer | Refusal = nobody_there() if answerer is None else await self._safely(answerer, request)
        answer = refuse(outcome) if isinstance(outcome, Refusal) else outcome
        if answerer is not None:
            _answered(answerer.operation, outcome.slug if isinstance(outcome, Refusal) else _REPLIED).inc()
            _seconds(request.topic).observe(time.perf_counter() - began)
        return answer

    async def _safely(self, answerer: Answerer, request: Request) -> Answer | Refusal:
        try:
            return await self._timer.wait(self._answer(answerer, request), within=request.seconds_left)
        except TimeIsUpError as error:
            tracing.fail(error)
            return deadline_passed()
        except (LaneError, BrokerAwayError) as error:
            tracing.fail(error)
            log.warning("another service did not answer", error=error)
            return temporarily_unavailable()
        except Exception as error:
            tracing.fail(error)
            if was_broken_off(error):
                log.warning("the database is away", error=error)
                return temporarily_unavailable()
            log.exception("a request failed")
            return request_failed()

    async def _answer(self, answerer: Answerer, request: Request) -> Answer | Refusal:
        refusal = None if answerer.http is None else answerer.http.refusal_to(request.caller)
        if refusal is not None:
            return refusal
        asked = read(answerer.operation, request)
        if isinstance(asked, Refusal):
            return asked
        if answerer.is_query or self._database is None:
            return await self._query(answerer, asked, request)
        return await self._write(self._database, answerer, asked, request)

    async def _query(self, answerer: Answerer, asked: Operation[Any], request: Request) -> Answer | Refusal:
        given = self._given(request)
        if answerer.first is not None:
            refusal = await self._go_first(answerer.first, asked, given)
            if refusal is not None:
                return refusal
        reply = await self._looked(answerer, asked, given)
        if answerer.then is not None and not isinstance(reply, Refusal):
            reply = await self._go_then(answerer.then, asked, {**given, answerer.then.gives: reply})
        return _answered_with(_dump(answerer, reply))

    async def _looked(self, answerer: Answerer, asked: Operation[Any], given: dict[Any, Any]) -> Any:
        if Transaction not in answerer.wants.values() or self._database is None:
            return await answerer.handler(asked, **pick(answerer.wants, given))
        return await self._database.read(
            lambda tx: answerer.handler(asked, **pick(answerer.wants, {**given, Transaction: tx}))
        )

    async def _write(
        self, database: Database, answerer: Answerer, asked: Operation[Any], request: Request
    ) -> Answer | Refusal:
        identity = answers.Identity.of(request) if answerer.operation.answer_is_kept else None
        given = self._given(request)
        if answerer.first is not None:
            before = await self._given_before(database, identity) if request.idempotency_key is not None else None
            early = before if before is not None else await self._go_first(answerer.first, asked, given)
            if early is not None:
                return _answered_with(early)
        effect = partial(_once, answerer, asked, given, identity)
        result, said = await database.transact(Origin(request.request_id, None, request.traceparent), effect)
        if answerer.then is not None and not isinstance(result, Refusal):
            given[answerer.then.gives] = answerer.reply.validate_json(result)
            result = _dump(answerer, await self._go_then(answerer.then, asked, given))
        return _answered_with(result, self._news(said))

    def _news(self, said: Iterable[Said]) -> str | None:
        """What of it makes answers stale that edges may keep: without the data, where there is too much of it."""
        told = [(message.topic, message) for message in said if message.topic in self._service.news]
        if not told:
            return None
        news = json.dumps([(topic, message.model_dump(mode="json")) for topic, message in told])
        return news if len(news) <= MOST_NEWS else json.dumps([(topic, None) for topic in {topic for topic, _ in told}])

    async def _go_then(self, then: Stage, asked: Operation[Any], given: dict[Any, Any]) -> Any:
        return await then.handler(asked, **pick(then.wants, {**given, Database: self._database}))

    @staticmethod
    async def _given_before(database: Database, identity: answers.Identity | None) -> bytes | Refusal | None:
        if identity is None:
            return None
        async with database.reading() as transaction:
            return await answers.given_before(transaction, identity)

    @staticmethod
    async def _go_first(first: Stage, asked: Operation[Any], given: dict[Any, Any]) -> Refusal | None:
        """Run what comes before the transaction; its result joins what is given."""
        result = await first.handler(asked, **pick(first.wants, given))
        if isinstance(result, Refusal):
            return result
        given[first.gives] = result
        return None

    def _given(self, request: Request) -> dict[Any, Any]:
        ask = Ask(self._requester, request.deadline, request.caller, request.traceparent)
        reader = None if self._database is None else self._database.reader
        return {**self._service.provided, Caller: request.caller, Ask: ask, Reader: reader}


async def _once(
    answerer: Answerer,
    asked: Operation[Any],
    given: dict[Any, Any],
    identity: answers.Identity | None,
    transaction: Transaction,
) -> tuple[bytes | Refusal, list[Said]]:
    """The effect with its answer and what it said, or the answer that was given before."""
    if identity is not None:
        before = await answers.claim(transaction, identity)
        if before is not None:
            transaction.abandon()
            return before, []
    reply = await answerer.handler(asked, **pick(answerer.wants, {**given, Transaction: transaction}))
    result = _dump(answerer, reply)
    if isinstance(result, Refusal):
        if not transaction.kept:
            transaction.abandon()
    elif identity is not None:
        await answers.keep(transaction, identity, result)
    return result, [] if transaction.abandoned else transaction.said


def _answered_with(result: bytes | Refusal, news: str | None = None) -> Answer | Refusal:
    return result if isinstance(result, Refusal) else Answer(result, news=news)


def _ids(request: Request) -> dict[str, str | None]:
    return {"topic": request.topic, "request_id": request.request_id, "trace": trace_of(request.traceparent)}


def _dump(answerer: Answerer, reply: object) -> bytes | Refusal:
    return reply if isinstance(reply, (Refusal, Json)) else answerer.reply.dump_json(reply)
