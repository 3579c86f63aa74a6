"""Requests as the lane hands them to a service, for tests of how they are answered."""

import json
import time
from typing import ClassVar
from uuid import UUID

from broker.lane import Answer, NobodyThereError, Request
from contracts.base import Caller, Message, Query, refusal

ANN, BEN = Caller(id=UUID(int=1)), Caller(id=UUID(int=2))
STAFF = Caller(id=UUID(int=3), roles=frozenset({"staff"}))
BAKER = Caller(id=UUID(int=4), roles=frozenset({"baker", "customer"}))
too_many = refusal("too-many", 409, "There are too many.")


class Count(Message):
    number: int


class Ping(Query[Count]):
    topic: ClassVar[str] = "tests.ping.v1"
    number: int = 0


class Elsewhere:
    """A requester where `request` fails as told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or NobodyThereError("elsewhere")
        self.asked: list[Request] = []

    async def request(self, request: Request) -> Answer:
        """Note and fail."""
        self.asked.append(request)
        raise self.error


def asked(
    topic: str = Ping.topic,
    body: bytes = b"{}",
    caller: Caller = ANN,
    *,
    within: float = 5,
    request_id: str = "request-1",
    key: str | None = None,
) -> Request:
    return Request(topic, body, time.time() + within, request_id, caller, key)


def slug(answer: Answer) -> str:
    assert answer.refused, answer
    found: str = json.loads(answer.body)["slug"]
    return found
