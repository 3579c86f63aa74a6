"""News of orders, from the event to the mail."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import func, select
from sqlmodel import col

from broker.ids import new_id
from broker.running import running as run
from broker.service import Service
from contracts.base import Line, Money, Refusal
from contracts.orders import (
    LookUpOrder,
    Order,
    OrderConfirmed,
    OrderRefunded,
    OrderShipped,
    Payment,
    Shipment,
    no_such_order,
)
from tests.support.eventually import eventually
from tests.support.harness import Harness
from tests.workers.users.people import LETTERBOX, mailed, register
from workers.users.news import price
from workers.users.tables import MailRow

TOTAL, PARCEL = Money(amount=1999, currency="EUR"), new_id()
ORDERS: dict[UUID, Order] = {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(shared_users: Harness, shared_amqp: str) -> AsyncIterator[None]:
    """Somebody who knows the orders."""
    service = Service("orders", version="1")

    @service.answers(LookUpOrder)
    async def look_up(question: LookUpOrder) -> Order | Refusal:
        return ORDERS.get(question.id) or no_such_order()

    async with run(service, amqp_url=shared_amqp, database_url=None):
        yield


def order(email: str | None = None) -> Order:
    """A confirmed order with a parcel on its way."""
    now = datetime.now(UTC)
    free = Money(amount=0, currency="EUR")
    bought = Line(
        kind="item", sku="SPADE", name="Spade", quantity=2, net=TOTAL, tax_rate=Decimal(0), tax=free, gross=TOTAL
    )
    placed = Order(
        id=new_id(),
        number="100001",
        status="shipped",
        lines=(bought,),
        total=TOTAL,
        payment=Payment(status="captured"),
        email=email,
        shipments=(Shipment(id=PARCEL, lines=(), carrier="DHL", tracking="JJD01", shipped_at=now),),
        created_at=now,
        history=(),
    )
    ORDERS[placed.id] = placed
    return placed


@pytest.mark.servers
@pytest.mark.asyncio(loop_scope="module")
class TestMails:
    """With a running service."""

    async def test_as_long_as_nobody_knows_the_orders_the_mail_waits(self, users: Harness) -> None:
        await users.publish(OrderConfirmed(order_id=new_id(), items=(), total=TOTAL))
        await eventually(lambda: is_put_off(users))

    async def test_a_customer_gets_news_at_the_account_s_address(self, users: Harness, shop: None) -> None:
        customer, bought = (await register(users)).id, order()
        await users.publish(OrderConfirmed(order_id=bought.id, customer_id=customer, items=(), total=TOTAL))
        mail = await mailed("Your order 100001")
        assert "2 x Spade: 19.99 EUR" in mail.get_content()
        assert mail.get_content().startswith("Hello Ada,")

    async def test_a_guest_gets_news_at_the_order_s_address(self, users: Harness, shop: None) -> None:
        bought = order("guest@example.org")
        await users.publish(OrderShipped(order_id=bought.id, shipment_id=PARCEL, items=(), complete=True))
        mail = await mailed("A parcel of your order 100001", "guest@example.org")
        assert "DHL, tracking number JJD01" in mail.get_content()
        refund = OrderRefunded(order_id=bought.id, refund_id=new_id(), amount=TOTAL, refunded=TOTAL)
        headers = await users.publish(refund)
        await users.publish(refund, headers=headers)
        assert "19.99 EUR" in (await mailed("Refund for your order 100001", "guest@example.org")).get_content()
        await eventually(lambda: is_nothing_waiting(users))
        assert LETTERBOX.mails == []

    async def test_of_an_order_that_nobody_knows_there_is_no_news(self, users: Harness, shop: None) -> None:
        gone, bought = new_id(), order("guest@example.org")
        for order_id in (gone, bought.id):
            await users.publish(OrderConfirmed(order_id=order_id, items=(), total=TOTAL))
        await mailed("Your order 100001", "guest@example.org")
        await eventually(lambda: is_nothing_waiting(users))
        assert LETTERBOX.mails == []


async def is_put_off(users: Harness) -> bool:
    async with users.session() as db:
        return bool(await db.scalar(select(MailRow).where(col(MailRow.attempts) > 0, col(MailRow.due_at) > func.now())))


async def is_nothing_waiting(users: Harness) -> bool:
    async with users.session() as db:
        return await db.scalar(select(func.count()).select_from(MailRow)) == 0


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [(1999, "EUR", "19.99 EUR"), (5, "EUR", "0.05 EUR"), (1999, "JPY", "1999 JPY"), (1999, "KWD", "1.999 KWD")],
)
def test_a_price_has_as_many_decimals_as_its_currency(amount: int, currency: str, text: str) -> None:
    assert price(Money(amount=amount, currency=currency)) == text
