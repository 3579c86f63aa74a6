import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.servers


def order(payment_method: str = "pm_card_visa") -> dict[str, Any]:
    return {"reference": uuid4().hex, "amount": 1999, "currency": "EUR", "payment_method": payment_method}


async def authorise(client: httpx.AsyncClient, body: dict[str, Any], key: str, wait: float = 10) -> httpx.Response:
    return await client.post("/v1/payments", json=body, headers={"Idempotency-Key": key}, timeout=wait)


async def test_asked_twice_it_holds_once_and_says_the_same(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asked, key = order(), uuid4().hex
    first, second = await authorise(client, asked, key), await authorise(client, asked, key)
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert sandbox.kinds(asked["reference"]) == ["authorised"]


async def test_a_decline_is_replayed_too(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asked, key = order("pm_card_visa_chargeDeclined"), uuid4().hex
    assert (await authorise(client, asked, key)).content == (await authorise(client, asked, key)).content
    assert sandbox.kinds(asked["reference"]) == ["declined"]


async def test_a_key_of_another_request_is_refused(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asked, key = order(), uuid4().hex
    payment = (await authorise(client, asked, key)).json()
    other = await authorise(client, {**asked, "amount": 1}, key)
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    elsewhere = await client.post(f"/v1/payments/{payment['id']}/void", headers={"Idempotency-Key": key})
    assert elsewhere.status_code == 400
    assert sandbox.kinds(asked["reference"]) == ["authorised"]


async def test_at_the_same_time_one_works_and_the_other_is_told_to_wait(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    asked, key = order("pm_sandbox_slow"), uuid4().hex
    answers = await asyncio.gather(authorise(client, asked, key), authorise(client, asked, key))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert (await authorise(client, asked, key)).headers["Idempotent-Replayed"] == "true"
    assert sandbox.kinds(asked["reference"]) == ["authorised"]


async def test_many_at_once_have_one_effect(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asked, key = order(), uuid4().hex
    answers = await asyncio.gather(*(authorise(client, asked, key) for _ in range(20)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert sandbox.kinds(asked["reference"]) == ["authorised"]


async def test_a_failure_is_kept_and_only_a_new_key_gets_past_it(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asked = order("pm_sandbox_error_once")
    assert (await authorise(client, asked, f"{asked['reference']}:1")).status_code == 500
    again = await authorise(client, asked, f"{asked['reference']}:1")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (500, "true")
    assert sandbox.kinds(asked["reference"]) == []
    assert (await authorise(client, asked, f"{asked['reference']}:2")).status_code == 200
    assert sandbox.kinds(asked["reference"]) == ["authorised"]


@pytest.mark.parametrize(("when", "kinds"), [("before", []), ("after", ["authorised"])])
async def test_silence_tells_nothing_but_the_ledger_knows(
    sandbox: Sandbox, client: httpx.AsyncClient, when: str, kinds: list[str]
) -> None:
    asked, key = order(f"pm_sandbox_timeout_{when}"), uuid4().hex
    with pytest.raises(httpx.ReadTimeout):
        await authorise(client, asked, key, wait=0.5)
    assert sandbox.kinds(asked["reference"]) == kinds


async def test_the_key_of_a_lost_answer_replays_it(client: httpx.AsyncClient) -> None:
    asked, key = order("pm_sandbox_timeout_after"), uuid4().hex
    with pytest.raises(httpx.ReadTimeout):
        await authorise(client, asked, key, wait=0.5)
    assert (await authorise(client, asked, key)).json()["status"] == "authorised"


async def test_a_write_without_a_key_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/payments", json=order())).status_code == 400
