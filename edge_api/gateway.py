"""From an HTTP request to a message, and from its answer to a response.

Promise: a request is authenticated, admitted and bounded before anybody is asked; its body passes through unparsed;
each way of not being answered has a status of its own, at once where nobody is there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.types import Scope

from broker.lane import (
    DEFAULT_SECONDS,
    Answer,
    DeadlinePassedError,
    NobodyThereError,
    OverloadedError,
    Request,
    Requester,
)
from broker.reconnecting import BrokerAwayError
from contracts.base import Caller, RefusalKind, deadline_passed, nobody_there
from contracts.presence import Route
from edge_api import reading
from edge_api.accepting import PLAIN, must_accept
from edge_api.authentication import Authenticator, admit
from edge_api.cache import Cache
from edge_api.capacity import Capacity
from edge_api.composition import composed
from edge_api.incoming import Incoming
from edge_api.limits import Limits
from edge_api.problems import RefusedError, broker_away, no_such_route, overloaded, problem, refusal_in, starting
from edge_api.responses import JSON, Header, Response
from edge_api.routing import Routes, Target
from edge_api.streams import CONTENT_TYPE as EVENTS
from edge_api.streams import EventStream, Streams

ANSWER_WITHIN_SECONDS = DEFAULT_SECONDS
_FAILURES: dict[type[Exception], RefusalKind] = {
    NobodyThereError: nobody_there,
    DeadlinePassedError: deadline_passed,
    BrokerAwayError: broker_away,
    OverloadedError: overloaded,
}
NO_ROUTE = "-"


@dataclass(slots=True)
class Visit:
    """One request on its way; what the log and the counters say of it. `route` is the template, never the path;
    `traceparent` is empty until it is known;
    `headers` go with the response, whatever it is."""

    request_id: str
    route: str = NO_ROUTE
    service: str | None = None
    traceparent: str = ""
    headers: tuple[Header, ...] = ()
    is_stream: bool = False


class Gateway:
    """Answers whatever the services' routes cover."""

    def __init__(
        self,
        routes: Routes,
        requester: Requester,
        authenticator: Authenticator,
        limits: Limits,
        capacity: Capacity,
        cache: Cache,
        streams: Streams,
        *,
        is_known: Callable[[], bool],
    ) -> None:
        self._routes = routes
        self._requester = requester
        self._authenticator = authenticator
        self._limits = limits
        self._capacity = capacity
        self._cache = cache
        self._streams = streams
        self._is_known = is_known

    async def answer(self, scope: Scope, incoming: Incoming, visit: Visit) -> Response | EventStream:
        """The response. Raises RefusedError, and ClientGoneError where nobody waits for one."""
        headers = incoming.headers
        visit.traceparent = visit.traceparent or reading.traceparent(headers)
        client = self._limits.let_in(scope, headers)
        if scope["method"] == "OPTIONS":
            visit.headers = await self._limits.count(client)
            return Response(204, headers=(self._routes.table.allowed(scope["raw_path"]),))
        try:
            target, in_path = self._find(scope)
            visit.route, visit.service = target.route.path, target.record.name
            if len(headers) < len(scope["headers"]):
                reading.singles_are_single(target.route, scope["headers"])
            ticket, query = reading.ticket_in(target, scope["query_string"])
            caller = await self._authenticator.caller(headers.get(b"authorization"), ticket)
        except RefusedError:
            visit.headers = await self._limits.count(client)
            raise
        visit.headers = await self._limits.count(client, caller, target.route)
        admit(target.route, caller)
        if target.has_content and headers.get(b"accept") not in PLAIN:
            must_accept(scope["headers"], EVENTS if target.offer.stream else JSON)
        if target.record.is_away and not target.parts:
            raise RefusedError(nobody_there())
        if target.is_cached and (found := self._cache.find(target.offer, scope, headers)):
            return found
        params = reading.fields_in_url(target.route, in_path, query)
        request = await _request(target, params, caller, incoming, visit)
        if target.parts:
            return await composed(target.parts, request, self._ask)
        if (stream := target.offer.stream) is not None:
            ask_again = partial(self._ask, target)
            within = seconds_for(target.route)
            told = await self._streams.open(stream, request, incoming, client=client, ask=ask_again, within=within)
            return respond(told, target.route, request) if isinstance(told, Answer) else told
        if target.is_cached:
            ask = partial(self._ask, target, request)
            check = partial(self._capacity.check, target.record, target.route)
            answer = await self._cache.fill(target.offer, scope, headers, request.params, ask, check=check)
            return answer if isinstance(answer, Response) else respond(answer, target.route, request)
        answer = await self._ask(target, request)
        if answer.news is not None:
            self._cache.told(answer.news, by=request.topic)
        return respond(answer, target.route, request)

    def _find(self, scope: Scope) -> tuple[Target, dict[str, str]]:
        try:
            return self._routes.table.find(scope["method"], scope["raw_path"])
        except RefusedError as error:
            if error.refusal.slug == no_such_route.slug and not self._is_known():
                raise RefusedError(starting()) from None
            raise

    async def _ask(self, target: Target, request: Request) -> Answer:
        self._capacity.take(target.record, target.route)
        try:
            return await self._requester.request(request)
        except tuple(_FAILURES) as error:
            kind = next(kind for failure, kind in _FAILURES.items() if isinstance(error, failure))
            raise RefusedError(kind()) from error
        finally:
            self._capacity.give_back(target.record)


def seconds_for(route: Route) -> float:
    """How long an answer may take."""
    return ANSWER_WITHIN_SECONDS if route.within_seconds is None else route.within_seconds


async def _request(target: Target, params: dict[str, str], caller: Caller, incoming: Incoming, visit: Visit) -> Request:
    """What the service is asked. Raises RefusedError, ClientGoneError."""
    route, headers = target.route, incoming.headers
    if route.headers:
        params = {**params, **reading.fields_in_headers(route, headers)}
    wait = reading.seconds_to_wait(route, headers)
    if wait and route.wait:
        params = {**params, route.wait: str(wait)}
    key = reading.idempotency_key(headers) if target.keeps_answers else None
    return Request(
        topic=target.offer.topic,
        params=params,
        body=await reading.body_of(route, incoming),
        deadline=time.time() + seconds_for(route) + wait,
        request_id=visit.request_id,
        caller=caller,
        idempotency_key=key,
        traceparent=visit.traceparent,
        repeatable=key is not None or target.offer.kind == "query",
    )


def respond(answer: Answer, route: Route, request: Request) -> Response:
    """An answer as a response: the body as it is, or the problem that a refusal stands for. Raises RefusedError."""
    if not answer.refused:
        return Response(route.status, b"" if route.status == 204 or answer.body == b"null" else answer.body)
    return problem(refusal_in(answer, request), request_id=request.request_id)
