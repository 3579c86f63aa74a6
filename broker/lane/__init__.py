"""The request lane: ask over RabbitMQ, be answered by the deadline or told why not.

Promise: every request ends in exactly one of: an `Answer`, `NobodyThereError` or `OverloadedError` (at once),
`DeadlinePassedError`, `BrokerAwayError`. What carries the lane hides behind `Requester` and `Responder`.

    LaneError
    ├── NobodyThereError        no queue is bound for the operation
    ├── DeadlinePassedError     the answer did not come in time
    ├── OverloadedError         too many requests are in flight here
    └── BadAnswerError          what came back is no answer to this operation
    BrokerAwayError
    └── ConnectionLostError     while the request was in flight: it may have been carried out
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from broker.ids import new_token
from broker.reconnecting import BrokerAwayError
from broker.telemetry import LANE_DROPPED
from contracts.base import Caller, Operation, Query, Refusal

NOBODY = Caller()
DEFAULT_SECONDS = 5.0
"""How long an answer may take, where nobody says otherwise."""
PREFETCH = 64
"""How many requests one instance of a service has in hand."""
MAX_IN_FLIGHT = 10_000
"""How many requests may wait for their answers at one requester."""


class LaneError(Exception):
    """The request got no answer."""


class NobodyThereError(LaneError):
    """Nobody answers this operation."""


class DeadlinePassedError(LaneError):
    """The answer did not come in time."""


class OverloadedError(LaneError):
    """Too many requests are in flight here."""


class BadAnswerError(LaneError):
    """What came back is neither the operation's reply nor a refusal."""


class ConnectionLostError(BrokerAwayError):
    """The connection to the broker was lost while the request was in flight."""


@dataclass(slots=True)  # not frozen: that would cost three times as much to make, twice a request
class Request:
    """What is asked. `body` is JSON, `params` are fields that came as text (path and query string), `deadline` is a
    Unix time in seconds, and two requests with one `request_id` (or one caller's `idempotency_key`) have one effect.
    One that is `repeatable` is asked once more when the connection was lost while it was in flight."""

    topic: str
    body: bytes
    deadline: float
    request_id: str = field(default_factory=new_token)
    caller: Caller = NOBODY
    idempotency_key: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    traceparent: str | None = None
    repeatable: bool = False

    @property
    def seconds_left(self) -> float:
        """Time until the deadline; negative when it has passed."""
        return self.deadline - time.time()


@dataclass(slots=True)
class Answer:
    """What came back: JSON, of the operation's reply or of a `Refusal`. `news` are the facts of a write that make
    answers stale which an edge may keep: a JSON list of `[topic, data]`."""

    body: bytes
    refused: bool = False
    news: str | None = None


def refuse(refusal: Refusal) -> Answer:
    """A refusal as an answer."""
    return Answer(refusal.model_dump_json().encode(), refused=True)


class Requester(Protocol):
    """Who asks. `request` raises the errors of this module and BrokerAwayError."""

    async def request(self, request: Request) -> Answer: ...


class Responder(Protocol):
    """Who answers, with the function it was made with, whenever its links are up; one that drains takes nothing new and
    finishes."""

    async def drain(self, *, within: float) -> None: ...


Answering = Callable[[Request], Awaitable[Answer]]
Reply = TypeVar("Reply")
_adapters: dict[type, TypeAdapter[Any]] = {}


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks other services on behalf of a message that is being handled: same caller, what is left of its time."""

    requester: Requester
    deadline: float
    caller: Caller = NOBODY
    traceparent: str | None = None

    async def __call__(self, operation: Operation[Reply]) -> Reply | Refusal:
        """The reply or the refusal. Raises LaneError or BrokerAwayError when there is neither."""
        answer = await self.requester.request(
            Request(
                topic=operation.topic,
                body=operation.model_dump_json(exclude_unset=True).encode(),
                deadline=self.deadline,
                caller=self.caller,
                traceparent=self.traceparent,
                repeatable=isinstance(operation, Query),
            )
        )
        try:
            if answer.refused:
                return Refusal.model_validate_json(answer.body)
            return cast(Reply, _adapter(type(operation)).validate_json(answer.body))
        except ValidationError as error:
            LANE_DROPPED.labels("bad-answer").inc()
            raise BadAnswerError(f"{operation.topic}: {error.error_count()} errors") from None  # it shows what was said


def _adapter(operation: type[Operation[Any]]) -> TypeAdapter[Any]:
    if operation not in _adapters:
        _adapters[operation] = TypeAdapter(operation.reply_type())
    return _adapters[operation]
