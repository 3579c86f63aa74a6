from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.servers


def order(payment_method: str = "pm_card_visa", **changed: Any) -> dict[str, Any]:
    return {"reference": uuid4().hex, "amount": 1999, "currency": "EUR", "payment_method": payment_method, **changed}


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    return await client.post(path, json=body or {}, headers={"Idempotency-Key": uuid4().hex})


async def test_a_good_card_is_held_and_then_captured(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asked = order()
    payment = (await post(client, "/v1/payments", asked)).json()
    assert payment["status"] == "authorised"
    captured = await post(client, f"/v1/payments/{payment['id']}/capture")
    assert captured.json()["status"] == "captured"
    assert (await client.get(f"/v1/payments/{payment['id']}")).json()["status"] == "captured"
    entries = sandbox.entries(asked["reference"])
    assert [(entry["kind"], entry["amount"], entry["currency"]) for entry in entries] == [
        ("authorised", 1999, "EUR"),
        ("captured", 1999, "EUR"),
    ]


async def test_held_money_can_be_let_go_but_not_captured_after(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asked = order()
    payment = (await post(client, "/v1/payments", asked)).json()
    assert (await post(client, f"/v1/payments/{payment['id']}/void")).json()["status"] == "voided"
    refused = await post(client, f"/v1/payments/{payment['id']}/capture")
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "payment_unexpected_state"
    assert refused.json()["error"]["payment"]["status"] == "voided"
    assert sandbox.kinds(asked["reference"]) == ["authorised", "voided"]


async def test_captured_money_can_not_be_voided(client: httpx.AsyncClient) -> None:
    payment = (await post(client, "/v1/payments", order())).json()
    await post(client, f"/v1/payments/{payment['id']}/capture")
    assert (await post(client, f"/v1/payments/{payment['id']}/void")).status_code == 400


async def test_captured_money_goes_back_in_parts_and_never_more_of_it(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    asked = order()
    payment = (await post(client, "/v1/payments", asked)).json()
    refund = f"/v1/payments/{payment['id']}/refund"
    held = await post(client, refund, {"amount": 1, "reference": "too early"})
    assert (held.status_code, held.json()["error"]["code"]) == (400, "payment_unexpected_state")
    await post(client, f"/v1/payments/{payment['id']}/capture")
    for amount, reference in ((500, "one"), (1499, "two")):
        assert (await post(client, refund, {"amount": amount, "reference": reference})).is_success
    more = await post(client, refund, {"amount": 1, "reference": "three"})
    assert (more.status_code, more.json()["error"]["code"]) == (400, "refund_exceeds_captured")
    now = (await client.get(f"/v1/payments/{payment['id']}")).json()
    assert (now["status"], now["amount_captured"], now["amount_refunded"]) == ("captured", 1999, 1999)
    assert [made["reference"] for made in now["refunds"]] == ["one", "two"]
    entries = [entry["amount"] for entry in sandbox.entries(asked["reference"]) if entry["kind"] == "refunded"]
    assert entries == [500, 1499]


@pytest.mark.parametrize("wrong", [{}, {"amount": 0, "reference": "r"}, {"amount": 1}, {"amount": 1, "reference": ""}])
async def test_a_malformed_refund_is_refused(client: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    payment = (await post(client, "/v1/payments", order())).json()
    assert (await post(client, f"/v1/payments/{payment['id']}/refund", wrong)).status_code == 400


@pytest.mark.parametrize(
    ("method", "code"),
    [("pm_card_visa_chargeDeclined", "card_declined"), ("pm_of_nobody", "invalid_payment_method")],
)
async def test_a_bad_card_is_declined(sandbox: Sandbox, client: httpx.AsyncClient, method: str, code: str) -> None:
    asked = order(method)
    answer = await post(client, "/v1/payments", asked)
    assert answer.status_code == 402
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["payment"]["status"] == "declined"
    assert sandbox.kinds(asked["reference"]) == ["declined"]


async def test_a_failed_capture_leaves_the_money_held(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asked = order("pm_sandbox_capture_fails")
    payment = (await post(client, "/v1/payments", asked)).json()
    refused = await post(client, f"/v1/payments/{payment['id']}/capture")
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "capture_failed")
    assert (await post(client, f"/v1/payments/{payment['id']}/void")).json()["status"] == "voided"
    assert sandbox.kinds(asked["reference"]) == ["authorised", "voided"]


@pytest.mark.parametrize(
    ("outcome", "status", "kinds"), [("succeeded", "authorised", ["authorised"]), ("failed", "declined", ["declined"])]
)
async def test_the_customer_settles_what_waits_for_them(
    sandbox: Sandbox, client: httpx.AsyncClient, outcome: str, status: str, kinds: list[str]
) -> None:
    asked = order("pm_card_authenticationRequired")
    payment = (await post(client, "/v1/payments", asked)).json()
    assert payment["status"] == "requires_action"
    assert payment["next_action"]["type"] == "redirect_to_url"
    url = payment["next_action"]["redirect_to_url"]["url"]
    async with httpx.AsyncClient(trust_env=False) as browser:
        assert "<form" in (await browser.get(url)).text
        assert (await browser.post(url, params={"outcome": outcome})).is_success
        await browser.get(url, params={"outcome": "succeeded"})
    assert (await client.get(f"/v1/payments/{payment['id']}")).json()["status"] == status
    assert sandbox.kinds(asked["reference"]) == kinds


async def test_payments_are_told_in_pages_by_their_last_movement(client: httpx.AsyncClient) -> None:
    async def page(**asked: Any) -> list[dict[str, Any]]:
        return list((await client.get("/v1/movements", params=asked)).raise_for_status().json()["data"])

    payment = (await post(client, "/v1/payments", order())).json()
    await post(client, f"/v1/payments/{payment['id']}/capture")
    await post(client, f"/v1/payments/{payment['id']}/refund", {"amount": 500, "reference": "one"})
    seen: list[dict[str, Any]] = []
    while found := await page(after=seen[-1]["id"] if seen else 0, limit=2):
        assert len(found) <= 2
        seen += found
    mine = [movement for movement in seen if movement["payment"]["id"] == payment["id"]]
    assert [(movement["kind"], movement["payment"]["amount_refunded"]) for movement in mine] == [("refunded", 500)]
    assert await page(older_than=60) == []
    assert (await client.get("/v1/movements", params={"after": "yesterday"})).status_code == 400


async def test_payments_are_found_by_reference(client: httpx.AsyncClient) -> None:
    asked = order()
    payment = (await post(client, "/v1/payments", asked)).json()
    found = (await client.get("/v1/payments", params={"reference": asked["reference"]})).json()["data"]
    assert found == [payment]
    assert (await client.get("/v1/payments", params={"reference": "of-nobody"})).json()["data"] == []


@pytest.mark.parametrize("wrong", [{"amount": 0}, {"amount": "5"}, {"amount": True}, {"currency": "eur"}, {"more": 1}])
async def test_a_malformed_request_is_refused(client: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    assert (await post(client, "/v1/payments", order(**wrong))).status_code == 400


async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/payments/pay_none")).status_code == 404
    assert (await post(client, "/v1/payments/pay_none/void")).status_code == 404
    assert (await client.get("/authentications/pay_none")).status_code == 404


async def test_nothing_is_told_without_the_secret_key(sandbox: Sandbox) -> None:
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as stranger:
        assert (await stranger.get("/v1/ledger")).status_code == 401
        wrong = {"Authorization": "Bearer sk_of_another"}
        assert (await stranger.post("/v1/payments", json=order(), headers=wrong)).status_code == 401
