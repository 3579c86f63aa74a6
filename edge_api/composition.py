"""Several questions at one address.

Promise: each part is asked as its own route would be (of a service that is there, by who may call it), all at once and
within one deadline. A part that fails is null, and its problem stands beside it; where all fail, so does the whole, as
its first part did.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from pydantic_core import from_json

from broker.lane import Answer, Request
from broker.telemetry import log
from contracts.base import Refusal, nobody_there
from contracts.presence import PROBLEMS
from edge_api.authentication import admit
from edge_api.problems import RefusedError, bad_answer, document, problem, refusal_in
from edge_api.responses import Response
from edge_api.routing import PartTarget, Target

Asking = Callable[[Target, Request], Awaitable[Answer]]
"""Asks who answers. Raises RefusedError."""


async def composed(parts: Sequence[PartTarget], request: Request, ask: Asking) -> Response:
    """What the parts answer to this request, put together."""
    outcomes = await asyncio.gather(*(_outcome(part, request, ask) for part in parts))
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    if len(refusals) == len(parts):
        return problem(refusals[0], request_id=request.request_id)
    names = [part.part.name for part in parts]
    return Response(200, _merged(zip(names, outcomes, strict=True), request.request_id))


async def _outcome(part: PartTarget, request: Request, ask: Asking) -> bytes | Refusal:
    target, declared = part.target, part.part
    if target is None or target.record.is_away:
        return nobody_there()
    taken = {name: request.params[name] for name in declared.takes if name in request.params}
    try:
        admit(target.route, request.caller)
        answer = await ask(target, replace(request, topic=declared.topic, params={**declared.given, **taken}))
        return refusal_in(answer, request) if answer.refused else _checked(answer, declared.topic, request)
    except RefusedError as error:
        return error.refusal


def _checked(answer: Answer, topic: str, request: Request) -> bytes:
    """JSON, because what is none would spoil the other parts. Raises RefusedError."""
    try:
        from_json(answer.body)
    except ValueError:
        log.error("a reply is no JSON", topic=topic, request_id=request.request_id)
        raise RefusedError(bad_answer()) from None
    return answer.body


def _merged(outcomes: Iterable[tuple[str, bytes | Refusal]], request_id: str) -> bytes:
    problems, members = {}, []
    for name, outcome in outcomes:
        if isinstance(outcome, Refusal):
            problems[name] = document(outcome, request_id)
        body = b"null" if isinstance(outcome, Refusal) else outcome
        members.append(b'"%s":%s' % (name.encode(), body))
    members.append(b'"%s":%s' % (PROBLEMS.encode(), json.dumps(problems, ensure_ascii=False).encode()))
    return b"{%s}" % b",".join(members)
