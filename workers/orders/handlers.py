"""What the orders service answers and hears."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from broker.ids import new_id, new_token
from broker.lane import Ask
from broker.service import Http, Service
from broker.transaction import Database, Transaction
from contracts.base import Caller, FieldError, Page, Refusal, invalid_request, unauthenticated
from contracts.catalog import (
    CommitStock,
    GetQuote,
    PriceItems,
    Prices,
    ReleaseStock,
    ReserveStock,
    StockRefused,
    StockReserved,
    no_such_quote,
)
from contracts.orders import (
    GetOrder,
    ListOrders,
    Order,
    OrderAuthorised,
    OrderConfirmed,
    OrderPlaced,
    OrderRejected,
    OrderReserved,
    PlaceOrder,
    email_needed,
    items_or_quote,
    no_such_order,
    nothing_to_pay,
    unknown_quote,
)
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    VoidPayment,
)
from workers.orders import reading, store
from workers.orders.rules import UNDER_WAY, begin, decide

service = Service(
    "orders",
    says=(
        OrderPlaced,
        OrderReserved,
        OrderAuthorised,
        OrderConfirmed,
        OrderRejected,
        ReserveStock,
        ReleaseStock,
        CommitStock,
        AuthorisePayment,
        CapturePayment,
        VoidPayment,
    ),
    migrations="workers.orders.migrations",
)


async def price(asked: PlaceOrder, ask: Ask, caller: Caller) -> Prices | Refusal:
    """What the order costs: today's prices, or those of the quote that it cites."""
    if caller.id is None and asked.email is None:
        return email_needed("", FieldError(pointer="/email", detail="is needed without an account"))
    if asked.items is not None and asked.quote is None:
        priced: Prices | Refusal = await ask(
            PriceItems(
                items=asked.items,
                shipping_method=asked.shipping_method,
                country=asked.shipping_address.country if asked.shipping_address else None,
            )
        )
    elif asked.quote is not None and asked.items is None:
        priced = await ask(GetQuote(id=asked.quote))
    else:
        return items_or_quote()
    if isinstance(priced, Refusal):
        return unknown_quote() if priced.slug == no_such_quote.slug else priced
    return priced if priced.total.amount > 0 else nothing_to_pay()


async def wait_until_settled(asked: PlaceOrder, order: Order, ask: Ask, database: Database) -> Order:
    """The order as it is when its saga has come to an end (or waits for the customer), if the caller wants to wait."""
    until = min(time.time() + asked.wait_seconds, ask.deadline - 0.5)
    while order.status in UNDER_WAY and time.time() < until:
        await asyncio.sleep(0.05)
        async with database.reading() as look:
            row = await store.find(look.connection, order.id)
            order = reading.order(row, order_token=order.order_token) if row else order
    return order


@service.answers(
    PlaceOrder,
    http=Http("POST", "/orders", status=201, who="anyone", wait="wait_seconds"),
    first=price,
    then=wait_until_settled,
)
async def place_order(asked: PlaceOrder, prices: Prices, tx: Transaction, caller: Caller) -> Order:
    order_token = new_token() if caller.id is None else None
    row = _row(asked, prices, caller, order_token)
    row["number"] = await store.add(tx.connection, row)
    saga = reading.saga(row)
    tx.emit(
        OrderPlaced(
            order_id=saga.order_id,
            number=row["number"],
            customer_id=saga.customer_id,
            items=saga.items,
            total=saga.total,
            placed_at=row["placed_at"],
        )
    )
    tx.say(begin(saga))
    return reading.order(row, order_token=order_token)


@service.answers(GetOrder, http=Http("GET", "/orders/{id}", who="anyone"))
async def get_order(question: GetOrder, tx: Transaction, caller: Caller) -> Order | Refusal:
    if caller.id is None and question.order_token is None:
        return unauthenticated()
    row = await store.find(tx.connection, question.id)
    if row is None or not reading.may_see(row, caller, question.order_token):
        return no_such_order()
    return reading.order(row)


@service.answers(ListOrders, http=Http("GET", "/orders"))
async def list_orders(question: ListOrders, tx: Transaction, caller: Caller) -> Page[Order] | Refusal:
    try:
        before = None if question.cursor is None else UUID(question.cursor)
    except ValueError:
        return invalid_request("", FieldError(pointer="/cursor", detail="is none of ours"))
    rows = await store.page(tx.session, question, caller, before)
    more = str(rows[question.limit - 1]["id"]) if len(rows) > question.limit else None
    return Page(items=tuple(reading.order(row) for row in rows[: question.limit]), next=more)


@service.hears(StockReserved)
@service.hears(StockRefused)
@service.hears(PaymentAuthorised)
@service.hears(PaymentDeclined)
@service.hears(PaymentCaptured)
@service.hears(CaptureFailed)
async def drive_the_saga(
    message: StockReserved | StockRefused | PaymentAuthorised | PaymentDeclined | PaymentCaptured | CaptureFailed,
    tx: Transaction,
) -> None:
    before = reading.saga(await store.lock(tx.connection, message.order_id))
    after, said = decide(before, message)
    if after != before:
        await store.note(tx.connection, after)
    tx.say(*said)


def _row(asked: PlaceOrder, prices: Prices, caller: Caller, order_token: str | None) -> dict[str, Any]:
    now = datetime.now(UTC)
    shipping, billing = asked.shipping_address, asked.billing_address
    return {
        "id": new_id(),
        "customer_id": caller.id,
        "status": "placed",
        "reason": None,
        "lines": [line.model_dump(mode="json") for line in prices.lines],
        "total": prices.total.amount,
        "currency": prices.total.currency,
        "payment_method": asked.payment_method,
        "payment": {"status": "pending"},
        "email": asked.email,
        "shipping_address": shipping.model_dump() if shipping else None,
        "billing_address": billing.model_dump() if billing else None,
        "shipping_method": asked.shipping_method,
        "metadata": asked.metadata,
        "token_hash": reading.token_hash(order_token) if order_token else None,
        "placed_at": now,
        "history": [store.step("placed", now)],
    }
