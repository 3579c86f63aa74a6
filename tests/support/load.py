"""Many buyers at once, who meet failures as good clients do: they ask again with the same idempotency key."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.customer import SETTLED

PATIENCE = 60.0


@dataclass
class Wish:
    """What somebody wants to buy, and under which key; every answer that accepted it is kept."""

    sku: str
    quantity: int
    card: str
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    accepted: list[dict[str, Any]] = field(default_factory=list)
    order: dict[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The request."""
        return {"items": [{"sku": self.sku, "quantity": self.quantity}], "payment_method": self.card}


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


async def buy(http: httpx.AsyncClient, wish: Wish, asking: Asking | None = None, *, must_settle: bool = True) -> None:
    """Place the order and wait until it has settled; if it need not, at most until patience ends."""
    answer = await insistently(http, "POST", "/orders", body=wish.body, key=wish.key, asking=asking)
    assert answer.status_code == 201, answer.text
    wish.accepted.append(answer.json())
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        wish.order = (await insistently(http, "GET", f"/orders/{answer.json()['id']}", asking=asking)).json()
        if wish.order["status"] in SETTLED or (loop.time() > deadline and not must_settle):
            return
        assert loop.time() < deadline, f"after {PATIENCE:g} s this order has not settled: {wish.order}"
        await asyncio.sleep(1)


async def buy_all(
    http: httpx.AsyncClient,
    wishes: Iterable[Wish],
    *,
    at_once: int,
    asking: Asking | None = None,
    must_settle: bool = True,
) -> None:
    """Fulfil the wishes, so many at a time."""
    waiting = iter(wishes)

    async def buyer() -> None:
        for wish in waiting:
            await buy(http, wish, asking, must_settle=must_settle)

    async with asyncio.TaskGroup() as buyers:
        for _ in range(at_once):
            buyers.create_task(buyer())
