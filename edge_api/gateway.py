"""From an HTTP request to a message, and from its answer to a response.

Promise: a request is authenticated, admitted and bounded before anybody is asked; its body passes through unparsed;
each way of not being answered has a status of its own, at once where nobody is there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError
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
from broker.telemetry import log
from contracts.base import Refusal, RefusalKind, deadline_passed, nobody_there
from contracts.presence import Route
from edge_api import reading
from edge_api.authentication import Authenticator, admit
from edge_api.incoming import Incoming
from edge_api.problems import RefusedError, bad_answer, broker_away, no_such_route, overloaded, problem, starting
from edge_api.responses import Response
from edge_api.routing import Routes, Target

ANSWER_WITHIN_SECONDS = DEFAULT_SECONDS
_FAILURES: dict[type[Exception], RefusalKind] = {
    NobodyThereError: nobody_there,
    DeadlinePassedError: deadline_passed,
    BrokerAwayError: broker_away,
    OverloadedError: overloaded,
}


@dataclass(slots=True)
class Visit:
    """One request on its way; what the log and the counters say of it. `route` is the template, never the path."""

    request_id: str
    route: str = "-"
    service: str | None = None


class Gateway:
    """Answers whatever the services' routes cover."""

    def __init__(
        self, routes: Routes, requester: Requester, authenticator: Authenticator, *, is_known: Callable[[], bool]
    ) -> None:
        self._routes = routes
        self._requester = requester
        self._authenticator = authenticator
        self._is_known = is_known

    async def answer(self, scope: Scope, incoming: Incoming, visit: Visit) -> Response:
        """The response. Raises RefusedError, and ClientGoneError where nobody waits for one."""
        if scope["method"] == "OPTIONS":
            return Response(204, headers=(self._routes.table.allowed(scope["raw_path"]),))
        target, in_path = self._find(scope)
        visit.route, visit.service = target.route.path, target.record.name
        headers = incoming.headers
        caller = await self._authenticator.caller(headers.get(b"authorization"))
        admit(target.route, caller)
        if target.record.is_away:
            raise RefusedError(nobody_there())
        params = reading.fields_in_url(target.route, in_path, scope["query_string"])
        if target.route.headers:
            params = {**params, **reading.fields_in_headers(target.route, headers)}
        wait = reading.seconds_to_wait(target.route, headers)
        if wait and target.route.wait:
            params = {**params, target.route.wait: str(wait)}
        is_query = target.offer.kind == "query"
        key = None if is_query else reading.idempotency_key(headers)
        request = Request(
            topic=target.offer.topic,
            params=params,
            body=await reading.body_of(target.route, incoming),
            deadline=time.time() + ANSWER_WITHIN_SECONDS + wait,
            request_id=visit.request_id,
            caller=caller,
            idempotency_key=key,
            traceparent=reading.traceparent(headers),
            repeatable=is_query or key is not None,
        )
        return respond(await self._ask(request), target.route, request)

    def _find(self, scope: Scope) -> tuple[Target, dict[str, str]]:
        try:
            return self._routes.table.find(scope["method"], scope["raw_path"])
        except RefusedError as error:
            if error.refusal.slug == no_such_route.slug and not self._is_known():
                raise RefusedError(starting()) from None
            raise

    async def _ask(self, request: Request) -> Answer:
        try:
            return await self._requester.request(request)
        except tuple(_FAILURES) as error:
            kind = next(kind for failure, kind in _FAILURES.items() if isinstance(error, failure))
            raise RefusedError(kind()) from error


def respond(answer: Answer, route: Route, request: Request) -> Response:
    """An answer as a response: the body as it is, or the problem that a refusal stands for. Raises RefusedError."""
    if not answer.refused:
        return Response(route.status, b"" if route.status == 204 or answer.body == b"null" else answer.body)
    try:
        refusal = Refusal.model_validate_json(answer.body)
    except ValidationError:
        refusal = None
    if refusal is None or not 400 <= refusal.status <= 599:
        log.error("a refusal makes no sense", topic=request.topic, request_id=request.request_id)
        raise RefusedError(bad_answer())
    return problem(refusal, request_id=request.request_id)
