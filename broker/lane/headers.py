"""How a request and its answer look as AMQP messages: headers in, headers out.

Promise: what is documented in docs/wire-protocol.md and nothing else; a header that does not parse never raises past
here.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from broker.ids import new_token
from broker.lane import NOBODY, Request
from contracts.base import Caller

OUTCOME = "outcome"
NEWS = "news"
REFUSED = "refusal"
REPLIED = "reply"
LONGEST_EXPIRATION = 86_400.0
"""In seconds. One that the broker can't count would cost the channel."""
_END_OF_TIME = 2**40


class MalformedRequestError(ValueError):
    """The message lacks what makes it a request."""


def headers_of(request: Request) -> dict[str, Any]:
    """The headers that carry everything of a request but its topic and body."""
    headers: dict[str, Any] = {"deadline": int(request.deadline * 1000), "request-id": request.request_id}
    if request.caller.id is not None:
        headers["caller-id"] = str(request.caller.id)
        headers["caller-roles"] = ",".join(sorted(request.caller.roles))
    if request.caller.session is not None:
        headers["caller-session"] = str(request.caller.session)
    if request.idempotency_key is not None:
        headers["idempotency-key"] = request.idempotency_key
    if request.params:
        headers["params"] = json.dumps(dict(request.params))
    if request.traceparent is not None:
        headers["traceparent"] = request.traceparent
    return headers


def request_from(topic: str, body: bytes, headers: Mapping[str, Any], *, default_id: str | None) -> Request:
    """The request in a message. Raises MalformedRequestError."""
    try:
        return Request(
            topic=topic,
            body=body,
            deadline=deadline_of(headers),
            request_id=str(headers.get("request-id") or default_id or new_token()),
            caller=_caller(headers),
            idempotency_key=_text(headers.get("idempotency-key")),
            params=_params(headers.get("params")),
            traceparent=_text(headers.get("traceparent")),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise MalformedRequestError(f"not a request: {error!r}") from error


def deadline_of(headers: Mapping[str, Any]) -> float:
    """The deadline of a request, in seconds of Unix time. Raises KeyError, TypeError, ValueError."""
    deadline = float(headers["deadline"]) / 1000
    if not 0 <= deadline <= _END_OF_TIME:  # neither NaN nor what timers can't count
        raise ValueError(f"no point in time: {deadline}")
    return deadline


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _caller(headers: Mapping[str, Any]) -> Caller:
    if "caller-id" not in headers:
        return NOBODY
    session = _text(headers.get("caller-session"))
    return _known_caller(str(headers["caller-id"]), session, str(headers.get("caller-roles", "")))


@lru_cache(maxsize=4096)
def _known_caller(caller_id: str, session: str | None, roles: str) -> Caller:
    return Caller(
        id=UUID(caller_id),
        session=None if session is None else UUID(session),
        roles=frozenset(filter(None, roles.split(","))),
    )


def _params(value: Any) -> dict[str, str]:
    if not value:
        return {}
    params = json.loads(value)
    if not isinstance(params, dict):
        raise TypeError("params must be a JSON object")
    return {str(name): str(text) for name, text in params.items()}
