"""From a wish to an order that is placed."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from broker.ids import new_id, new_token
from broker.lane import Ask, LaneError
from broker.reconnecting import BrokerAwayError
from broker.service import Http
from broker.transaction import Database, Transaction
from contracts.base import Caller, FieldError, Refusal
from contracts.catalog import GetQuote, PriceItems, Prices, no_such_quote
from contracts.orders import Order, OrderPlaced, PlaceOrder, email_needed, items_or_quote, nothing_to_pay, unknown_quote
from contracts.payments import GetPaymentAction
from workers.orders import personal, reading, store
from workers.orders.personal import NOTHING
from workers.orders.rules import UNDER_WAY, begin
from workers.orders.service import service


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
            order = reading.order(row, personal.of(order), order_token=order.order_token) if row else order
    return await say_what_to_do(asked, order, ask)


async def say_what_to_do(_: object, order: Order, ask: Ask) -> Order:
    """With what the customer's browser has to do, where the bank asks for the customer."""
    if order.payment.status != "requires-action":
        return order
    try:
        action = await ask(GetPaymentAction(order_id=order.id))
    except (LaneError, BrokerAwayError):
        return order
    if isinstance(action, Refusal):
        return order
    payment = order.payment.model_copy(update=dict(action))
    return order.model_copy(update={"payment": payment})


@service.answers(
    PlaceOrder,
    http=Http("POST", "/orders", status=201, who="anyone", wait="wait_seconds", limit="orders"),
    first=price,
    then=wait_until_settled,
)
async def place_order(asked: PlaceOrder, prices: Prices, tx: Transaction, caller: Caller) -> Order:
    order_token, private = new_token() if caller.id is None else None, personal.of(asked)
    row = _row(asked, prices, caller, order_token)
    row["personal"] = await personal.seal(tx, row, private)
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
    return reading.order(row, private if row["personal"] else NOTHING, order_token=order_token)


def _row(asked: PlaceOrder, prices: Prices, caller: Caller, order_token: str | None) -> dict[str, Any]:
    now = datetime.now(UTC)
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
        "shipping_method": asked.shipping_method,
        "token_hash": reading.token_hash(order_token) if order_token else None,
        "placed_at": now,
        "history": [store.step("placed", now)],
    }
