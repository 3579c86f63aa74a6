"""Our books and the gateway's: what differs is found, healed and written down, and what agrees is left alone."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlmodel import col, select

from broker.ids import new_id
from contracts.base import Money
from contracts.payments import (
    AuthorisePayment,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentRefunded,
    RefundPayment,
)
from tests.conftest import Start
from tests.support.eventually import eventually
from tests.support.harness import Harness
from tests.support.sandbox import KEY, Sandbox
from workers.payments.gateway import Gateway, GatewayUnknown, Outcome
from workers.payments.handlers import service
from workers.payments.reconciling import reconcile
from workers.payments.rules import Patience
from workers.payments.sandbox import SandboxGateway
from workers.payments.tables import AuditRow, PaymentRow

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
PRICE = Money(amount=1999, currency="EUR")
PATIENCE = Patience(settled=timedelta(seconds=1))


class Books:
    """The service, the gateway as others use it, and what the reconciliation wrote down."""

    def __init__(self, payments: Harness, sandbox: Sandbox, gateway: SandboxGateway, client: httpx.AsyncClient) -> None:
        self.payments = payments
        self.sandbox = sandbox
        self.gateway = gateway
        self.client = client

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Do something at the gateway that our books know nothing of."""
        answer = await self.client.post(path, json=body, headers={"Idempotency-Key": uuid4().hex})
        return dict(answer.raise_for_status().json())

    async def hold(self, reference: object) -> dict[str, Any]:
        money = {"amount": 1999, "currency": "EUR", "payment_method": "pm_card_visa"}
        return await self.post("/v1/payments", reference=str(reference), **money)

    async def pay(self, reference: object) -> dict[str, Any]:
        held = await self.hold(reference)
        return await self.post(f"/v1/payments/{held['id']}/capture")

    async def order(self) -> UUID:
        """An order of ours whose money is held."""
        command = AuthorisePayment(order_id=new_id(), amount=PRICE, payment_method="pm_card_visa")
        await self.payments.send(command)
        await self.payments.heard(PaymentAuthorised, command.order_id)
        return command.order_id

    async def reconcile(self) -> None:
        """What the chore does every few seconds."""
        assert self.payments.service is not None
        assert self.payments.service.database is not None
        await reconcile(self.payments.service.database, self.gateway, PATIENCE)

    async def audits(self, order_id: UUID) -> list[tuple[str, str | None]]:
        """What was found of an order, and what was done about it."""
        async with self.payments.session() as db:
            mine = select(AuditRow).where(col(AuditRow.order_id) == order_id).order_by(col(AuditRow.id))
            return [(row.found, row.done) for row in await db.scalars(mine)]

    async def healed(self, order_id: UUID, *wanted: tuple[str, str]) -> None:
        """Wait until just this was found and done."""

        async def check() -> bool:
            await self.reconcile()
            return await self.audits(order_id) == list(wanted)

        await eventually(check, within=15)

    def kinds(self, order_id: UUID) -> list[str]:
        return self.sandbox.kinds(str(order_id))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(sharing: Start, sandbox: Sandbox) -> AsyncIterator[Books]:
    gateway = SandboxGateway(sandbox.url, KEY, total=2.0)
    service.provide(gateway, as_type=Gateway)
    service.provide(PATIENCE)
    async with sandbox.client() as client:
        yield Books(await sharing(service), sandbox, gateway, client)
    await gateway.aclose()


async def test_a_hold_without_an_order_is_let_go(books: Books) -> None:
    nobodys = new_id()
    await books.hold(nobodys)
    await books.healed(nobodys, ("hold-without-order", "voided"))
    assert books.kinds(nobodys) == ["authorised", "voided"]


async def test_what_is_paid_without_an_order_goes_back(books: Books) -> None:
    nobodys = new_id()
    paid = await books.pay(nobodys)
    await books.post(f"/v1/payments/{paid['id']}/refund", amount=500, reference="by hand")
    await books.healed(nobodys, ("paid-without-order", "refunded"))
    amounts = [entry["amount"] for entry in books.sandbox.entries(str(nobodys))]
    assert amounts == [1999, 1999, 500, 1499]


async def test_of_two_payments_for_one_order_the_second_goes_back(books: Books) -> None:
    order_id = await books.order()
    await books.payments.send(CapturePayment(order_id=order_id))
    await books.payments.heard(PaymentCaptured, order_id)
    second = await books.pay(order_id)
    await books.healed(order_id, ("captured-twice", "refunded"))
    refunded = [entry["payment"] for entry in books.sandbox.entries(str(order_id)) if entry["kind"] == "refunded"]
    assert refunded == [second["id"]]


async def test_where_our_row_is_behind_it_follows(books: Books) -> None:
    order_id = await books.order()
    found = (await books.client.get("/v1/payments", params={"reference": str(order_id)})).json()["data"][0]
    await books.post(f"/v1/payments/{found['id']}/void")
    await books.healed(order_id, ("differs", "looked"))

    async def follows() -> bool:
        async with books.payments.session() as db:
            row = await db.get(PaymentRow, order_id)
            assert row is not None
            return row.status == "voided"

    await eventually(follows)


async def test_where_the_books_agree_nothing_is_written_and_strangers_are_left_alone(books: Books) -> None:
    order_id = await books.order()
    await books.payments.send(CapturePayment(order_id=order_id))
    await books.payments.heard(PaymentCaptured, order_id)
    refund = RefundPayment(order_id=order_id, refund_id=new_id(), amount=Money(amount=500, currency="EUR"))
    await books.payments.send(refund)
    await books.payments.heard(PaymentRefunded, order_id)
    stranger = uuid4().hex[:20]
    await books.hold(stranger)
    await books.hold(nobodys := new_id())
    await books.healed(nobodys, ("hold-without-order", "voided"))
    assert await books.audits(order_id) == []
    assert books.kinds(order_id) == ["authorised", "captured", "refunded"]
    assert books.sandbox.kinds(stranger) == ["authorised"]


async def test_after_a_gateway_that_did_not_answer_it_goes_on_where_it_was(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(gateway_id: str, *, key: str) -> Outcome:
        raise GatewayUnknown("no answer")

    monkeypatch.setattr(books.gateway, "void", silent)
    await books.hold(nobodys := new_id())

    async def is_begun() -> bool:
        return await books.audits(nobodys) == [("hold-without-order", None)]

    await eventually(is_begun, within=15)
    monkeypatch.undo()
    assert books.kinds(nobodys) == ["authorised"]
    await books.reconcile()  # does nothing: the lease of the run that failed lasts
    assert await books.audits(nobodys) == [("hold-without-order", None)]
    await books.payments.write(text("UPDATE reconciliations SET claimed_until = now()"))
    await books.healed(nobodys, ("hold-without-order", "voided"))
