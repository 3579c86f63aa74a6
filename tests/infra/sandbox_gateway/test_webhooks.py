"""What the sandbox tells on its own account: once kept, it arrives, as the script says."""

import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from infra.launcher.certificate import development_certificate
from infra.launcher.state import State
from infra.sandbox_gateway.webhooks import signature
from tests.support.endpoint import Endpoint, endpoint
from tests.support.eventually import eventually
from tests.support.sandbox import WEBHOOK_SECRET, Sandbox, running_sandbox

pytestmark = pytest.mark.servers


class Shop:
    """A sandbox, the endpoint that it tells, and a client."""

    def __init__(self, sandbox: Sandbox, told: Endpoint, client: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self.told = told
        self.client = client

    async def authorise(self, method: str = "pm_card_visa") -> dict[str, Any]:
        body = {"reference": uuid4().hex, "amount": 1999, "currency": "EUR", "payment_method": method}
        answer = await self.client.post("/v1/payments", json=body, headers={"Idempotency-Key": uuid4().hex})
        return dict(answer.json())

    async def change(self, payment: dict[str, Any], how: str) -> None:
        path = f"/v1/payments/{payment['id']}/{how}"
        (await self.client.post(path, json={}, headers={"Idempotency-Key": uuid4().hex})).raise_for_status()

    async def settle(self, payment: dict[str, Any], outcome: str = "succeeded") -> None:
        url = payment["next_action"]["redirect_to_url"]["url"]
        (await self.client.post(url, params={"outcome": outcome})).raise_for_status()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.told.posts]

    async def told_of(self, *types: str) -> None:
        """Wait until exactly this was told, in this order."""

        async def check() -> bool:
            return [event["type"] for event in self.events] == [f"payment.{type_}" for type_ in types]

        await eventually(check, within=5)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with endpoint() as told:
        with running_sandbox(tmp_path, webhook_url=told.url) as sandbox:
            async with sandbox.client() as client:
                yield Shop(sandbox, told, client)


async def test_what_the_customer_did_is_told_and_signed(shop: Shop) -> None:
    payment = await shop.authorise("pm_card_authenticationRequired")
    await shop.settle(payment)
    await shop.told_of("authorised")
    (headers, body), event = shop.told.posts[0], shop.events[0]
    assert event["data"]["id"] == payment["id"]
    assert (event["data"]["status"], event["data"]["reference"]) == ("authorised", payment["reference"])
    moment = float(headers["Stripe-Signature"].partition(",")[0].removeprefix("t="))
    assert headers["Stripe-Signature"] == signature(body.decode(), WEBHOOK_SECRET, at=moment)
    assert abs(time.time() - moment) < 10


async def test_a_platform_that_speaks_https_is_told_too(tmp_path: Path) -> None:
    shown = development_certificate(State(tmp_path))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(shown.chain, shown.key)
    async with endpoint(tls=tls) as told:
        with running_sandbox(tmp_path, webhook_url=told.url, webhook_certificate=str(shown.chain)) as sandbox:
            async with sandbox.client() as client:
                shop = Shop(sandbox, told, client)
                await shop.settle(await shop.authorise("pm_card_authenticationRequired"))
                await shop.told_of("authorised")


async def test_what_an_answer_told_is_told_only_where_everything_is(shop: Shop) -> None:
    await shop.authorise()
    shop.sandbox.script_webhooks(everything=True)
    payment = await shop.authorise()
    await shop.change(payment, "capture")
    await shop.told_of("authorised", "captured")
    assert {event["data"]["id"] for event in shop.events} == {payment["id"]}


async def test_a_call_that_is_never_answered_is_told(shop: Shop) -> None:
    shop.client.timeout = httpx.Timeout(0.5)
    with pytest.raises(httpx.ReadTimeout):
        await shop.authorise("pm_sandbox_timeout_after")
    await shop.told_of("authorised")


async def test_an_endpoint_that_fails_is_told_again_and_hears_the_same_event(shop: Shop) -> None:
    shop.told.failures = 2
    await shop.settle(await shop.authorise("pm_card_authenticationRequired"), "failed")
    await shop.told_of("declined", "declined", "declined")
    assert len({event["id"] for event in shop.events}) == 1


async def test_killed_before_it_has_told_it_tells_afterwards(shop: Shop) -> None:
    shop.sandbox.script_webhooks(hold=True)
    await shop.settle(await shop.authorise("pm_card_authenticationRequired"))
    shop.sandbox.kill()
    shop.sandbox.start()
    await shop.told_of("authorised")


async def test_it_may_tell_twice(shop: Shop) -> None:
    shop.sandbox.script_webhooks(copies=2)
    await shop.settle(await shop.authorise("pm_card_authenticationRequired"))
    await shop.told_of("authorised", "authorised")
    assert shop.events[0] == shop.events[1]


async def test_it_may_never_tell(shop: Shop) -> None:
    shop.sandbox.script_webhooks(copies=0, before_the_answer=True)
    await shop.settle(await shop.authorise("pm_card_authenticationRequired"))
    shop.sandbox.script_webhooks()
    await shop.settle(await shop.authorise("pm_card_authenticationRequired"), "failed")
    await shop.told_of("declined")


async def test_it_may_tell_late(shop: Shop) -> None:
    shop.sandbox.script_webhooks(delay=1.5)
    late = await shop.authorise("pm_card_authenticationRequired")
    await shop.settle(late)
    shop.sandbox.script_webhooks()
    await shop.settle(await shop.authorise("pm_card_authenticationRequired"), "failed")
    await shop.told_of("declined", "authorised")


async def test_it_may_tell_before_it_answers(shop: Shop) -> None:
    shop.sandbox.script_webhooks(everything=True, before_the_answer=True)
    payment = await shop.authorise()
    assert [event["data"]["id"] for event in shop.events] == [payment["id"]]


async def test_it_may_tell_in_the_wrong_order(shop: Shop) -> None:
    shop.sandbox.script_webhooks(everything=True, hold=True)
    payment = await shop.authorise()
    await shop.change(payment, "capture")
    assert shop.told.posts == []
    shop.sandbox.script_webhooks(newest_first=True)
    await shop.told_of("captured", "authorised")


async def test_a_script_that_makes_no_sense_is_refused(shop: Shop) -> None:
    for wrong in ({"copies": -1}, {"sometimes": True}):
        assert (await shop.client.put("/v1/webhooks", json=wrong)).status_code == 400
