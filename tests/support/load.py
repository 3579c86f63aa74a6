"""Asking as good clients do when they meet failures: again, with the same idempotency key."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

PATIENCE = 90.0


@dataclass
class Asking:
    """What it was like to ask: how often, how often again and after which failures, how often no answer came, and how
    long the slowest answer took, in seconds."""

    asked: int = 0
    again: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    slowest: float = 0.0


async def insistently(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    body: Any = None,
    key: str | None = None,
    asking: Asking | None = None,
) -> httpx.Response:
    """The answer; asked for again after a passing failure: a 5xx, a lost connection, a key still in progress."""
    headers = {"Idempotency-Key": key} if key else {}
    asking = asking or Asking()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        asking.asked += 1
        began = loop.time()
        try:
            answer = await http.request(method, path, json=body, headers=headers)
            asking.slowest = max(asking.slowest, loop.time() - began)
            if answer.status_code < 500 and not (answer.status_code == 409 and "in-progress" in answer.text):
                return answer
            failure = f"{answer.status_code} {answer.text}"
            asking.again[str(answer.status_code)] += 1
        except httpx.TransportError as error:
            failure = repr(error)
            asking.again[type(error).__name__] += 1
            asking.unanswered += isinstance(error, httpx.ReadTimeout)
        assert loop.time() < deadline, f"{method} {path} failed for {PATIENCE:g} s, lastly with {failure}"
        await asyncio.sleep(0.2)
