"""Webhooks as the service takes them: believed only if signed, heard once, and no more than a hint to look."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlmodel import col, select

from broker.ids import new_id
from contracts.base import Money, Refusal
from contracts.payments import (
    AuthorisePayment,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentRequiresAction,
    ReceiveWebhook,
)
from infra.sandbox_gateway.webhooks import signature
from tests.conftest import Start
from tests.support.eventually import eventually
from tests.support.harness import Harness
from tests.support.sandbox import KEY, WEBHOOK_SECRET, Sandbox
from workers.payments.gateway import Gateway
from workers.payments.handlers import service
from workers.payments.rules import Patience
from workers.payments.sandbox import SandboxGateway
from workers.payments.tables import PaymentRow, WebhookRow

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def payments(sharing: Start, sandbox: Sandbox) -> AsyncIterator[Harness]:
    gateway = SandboxGateway(sandbox.url, KEY, webhook_secret=WEBHOOK_SECRET, total=2.0)
    service.provide(gateway, as_type=Gateway)
    service.provide(Patience())
    yield await sharing(service)
    await gateway.aclose()


def event(order_id: UUID | str, status: str = "authorised", **more: Any) -> str:
    told = {"id": f"evt_{uuid4().hex}", "object": "event", "type": f"payment.{status}", "created": int(time.time())}
    return json.dumps({**told, "data": {"id": "pay_1", "reference": str(order_id), "status": status}, **more})


async def tell(payments: Harness, body: str, *, at: float | None = None, secret: str = WEBHOOK_SECRET) -> str | None:
    """Send a webhook; the slug of the refusal."""
    signed = signature(body, secret, at=at)
    answer: Refusal | None = await payments.ask(ReceiveWebhook(gateway="sandbox", body=body, signature=signed))
    return None if answer is None else answer.slug


async def kept(payments: Harness, order_id: UUID) -> list[str]:
    """The events that were kept about an order."""
    async with payments.session() as db:
        found = await db.scalars(select(WebhookRow.event_id).where(col(WebhookRow.order_id) == order_id))
        return list(found)


async def checked_at(payments: Harness, order_id: UUID) -> tuple[int, bool]:
    """How often the gateway was asked in vain, and whether it is to be asked again."""
    async with payments.session() as db:
        row = await db.get(PaymentRow, order_id)
        assert row is not None
        return row.checks, row.check_at is not None


def order(method: str = "pm_card_visa") -> AuthorisePayment:
    return AuthorisePayment(order_id=new_id(), amount=Money(amount=1999, currency="EUR"), payment_method=method)


async def test_it_is_kept_before_it_is_answered_and_once(payments: Harness) -> None:
    order_id = new_id()
    body = event(order_id)
    for _ in range(3):
        assert await tell(payments, body) is None
    assert await kept(payments, order_id) == [json.loads(body)["id"]]


@pytest.mark.parametrize(
    ("more", "why"),
    [({"secret": "whsec_of_another"}, "forged"), ({"at": time.time() - 400}, "stale"), ({"at": 0}, "ancient")],
)
async def test_what_is_forged_or_stale_is_refused_and_not_kept(
    payments: Harness, more: dict[str, Any], why: str
) -> None:
    order_id = new_id()
    assert await tell(payments, event(order_id), **more) == "bad-signature", why
    assert await kept(payments, order_id) == []


async def test_a_good_signature_of_another_body_or_gateway_is_refused(payments: Harness) -> None:
    order_id = new_id()
    body, other = event(order_id), event(order_id)
    signed = signature(other, WEBHOOK_SECRET)
    for gateway, text, given in (("sandbox", body, signed), ("stripe", other, signed), ("sandbox", body, "")):
        answer: Refusal | None = await payments.ask(ReceiveWebhook(gateway=gateway, body=text, signature=given))
        assert isinstance(answer, Refusal)
        assert (answer.slug, answer.status) == ("bad-signature", 400)
    assert await kept(payments, order_id) == []


@pytest.mark.parametrize("nonsense", ["", "null", "{}", '{"id": "evt_1"}', '{"id": 7, "type": "x", "data": {}}'])
async def test_signed_nonsense_is_refused(payments: Harness, nonsense: str) -> None:
    assert await tell(payments, nonsense) == "bad-signature"


async def test_of_somebody_elses_payment_it_is_only_kept(payments: Harness) -> None:
    assert await tell(payments, event("not one of ours")) is None


async def test_what_the_customer_settled_is_said_soon_after_its_webhook(payments: Harness, sandbox: Sandbox) -> None:
    command = order("pm_card_authenticationRequired")
    await payments.send(command)
    await payments.heard(PaymentRequiresAction, command.order_id)

    async def is_tried_seldom() -> bool:
        return (await checked_at(payments, command.order_id))[0] >= 3

    await eventually(is_tried_seldom, within=15)  # by now, the next look is some seconds away
    async with sandbox.client() as client:
        found = (await client.get("/v1/payments", params={"reference": str(command.order_id)})).json()["data"][0]
        await client.post(found["next_action"]["redirect_to_url"]["url"], params={"outcome": "succeeded"})
    assert await tell(payments, event(command.order_id)) is None
    await payments.heard(PaymentAuthorised, command.order_id, within=1.5)


async def test_a_webhook_that_lies_changes_nothing(payments: Harness, sandbox: Sandbox) -> None:
    command = order()
    await payments.send(command)
    await payments.heard(PaymentAuthorised, command.order_id)
    assert await tell(payments, event(command.order_id, "captured")) is None

    async def is_looked_into() -> bool:
        return await checked_at(payments, command.order_id) == (0, False)

    await eventually(is_looked_into)
    await payments.send(CapturePayment(order_id=command.order_id))
    await payments.heard(PaymentCaptured, command.order_id)
    captured = [seen for seen in payments.seen if seen.routing_key == PaymentCaptured.topic]
    assert len([seen for seen in captured if seen.headers["cloudEvents_subject"] == str(command.order_id)]) == 1
    assert sandbox.kinds(str(command.order_id)) == ["authorised", "captured"]


async def test_a_webhook_before_the_call_that_it_belongs_to_does_no_harm(payments: Harness, sandbox: Sandbox) -> None:
    command = order()
    assert await tell(payments, event(command.order_id)) is None
    await payments.send(command)
    await payments.heard(PaymentAuthorised, command.order_id)
    assert sandbox.kinds(str(command.order_id)) == ["authorised"]


async def test_what_is_known_already_is_not_looked_into(payments: Harness) -> None:
    command = order()
    await payments.send(command)
    await payments.heard(PaymentAuthorised, command.order_id)
    assert await tell(payments, event(command.order_id)) is None
    assert await checked_at(payments, command.order_id) == (0, False)
