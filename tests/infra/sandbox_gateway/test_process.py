import asyncio
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.servers


def order(payment_method: str = "pm_card_visa") -> dict[str, Any]:
    return {"reference": uuid4().hex, "amount": 1999, "currency": "EUR", "payment_method": payment_method}


async def authorise(client: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Response:
    return await client.post("/v1/payments", json=body, headers={"Idempotency-Key": body["reference"]})


async def test_killed_under_load_it_keeps_every_answer_that_it_gave(own_sandbox: Sandbox) -> None:
    answered: list[dict[str, Any]] = []
    busy = asyncio.Event()

    async def shop(client: httpx.AsyncClient) -> None:
        while True:
            asked = order()
            try:
                (await authorise(client, asked)).raise_for_status()
            except httpx.TransportError:
                return
            answered.append(asked)
            if len(answered) == 100:
                busy.set()

    async with own_sandbox.client() as client, asyncio.TaskGroup() as shoppers:
        for _ in range(8):
            shoppers.create_task(shop(client))
        await busy.wait()
        own_sandbox.kill()

    own_sandbox.start()
    held = [entry["reference"] for entry in own_sandbox.entries()]
    assert len(held) == len(set(held))
    assert {asked["reference"] for asked in answered} <= set(held)
    async with own_sandbox.client() as client:
        assert (await authorise(client, answered[-1])).headers["Idempotent-Replayed"] == "true"
    assert len(own_sandbox.entries()) == len(held)


async def test_it_ends_soon_although_a_client_is_kept_waiting(own_sandbox: Sandbox) -> None:
    async with own_sandbox.client() as client:
        waiting = asyncio.create_task(authorise(client, order("pm_sandbox_timeout_before")))
        await asyncio.sleep(0.3)
        asked_at = time.monotonic()
        assert await asyncio.to_thread(own_sandbox.end) == 0
        assert time.monotonic() - asked_at < 3
        await asyncio.wait({waiting})
        assert waiting.exception() or not waiting.result().is_success
    own_sandbox.start()
    assert own_sandbox.entries() == []
