"""What the orders service answers and hears."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from broker.ids import new_id, new_token
from broker.lane import Ask, LaneError
from broker.reconnecting import BrokerAwayError
from broker.service import Http, Service, Streamed
from broker.transaction import Database, Transaction
from contracts.base import Caller, FieldError, Growing, Page, Refusal, invalid_request, unauthenticated
from contracts.catalog import (
    CommitStock,
    GetQuote,
    PriceItems,
    Prices,
    ReleaseStock,
    ReservationExpired,
    ReserveStock,
    Restock,
    StockItem,
    StockRefused,
    StockReserved,
    no_such_quote,
)
from contracts.orders import (
    CancelOrder,
    DeliverOrder,
    FollowOrder,
    ForgetGuest,
    GetOrder,
    ListOrders,
    LookUpOrder,
    Order,
    OrderAuthorised,
    OrderAwaitsCustomer,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPlaced,
    OrderRefunded,
    OrderRejected,
    OrderReserved,
    OrderShipped,
    PlaceOrder,
    Refund,
    RefundOrder,
    Shipment,
    ShipOrder,
    Step,
    email_needed,
    items_or_quote,
    no_such_order,
    not_a_guests_order,
    not_cancellable,
    not_confirmed,
    not_deliverable,
    not_shippable,
    nothing_to_pay,
    refund_too_high,
    unknown_quote,
    wrong_currency,
)
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    CapturePayment,
    GetPaymentAction,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequiresAction,
    PaymentVoided,
    RefundFailed,
    RefundPayment,
    VoidPayment,
)
from contracts.users import UserErased
from workers.orders import figures, personal, reading, store
from workers.orders.personal import NOTHING
from workers.orders.rules import (
    FINAL,
    UNDER_WAY,
    Cancelled,
    Input,
    ParcelLeft,
    ParcelsArrived,
    Patience,
    RefundAsked,
    TimedOut,
    begin,
    counted,
    decide,
    left_to_ship,
    plan_refund,
)

HISTORY = (
    OrderPlaced,
    OrderReserved,
    OrderAwaitsCustomer,
    OrderAuthorised,
    OrderConfirmed,
    OrderRejected,
    OrderCancelled,
    OrderShipped,
    OrderDelivered,
    OrderRefunded,
)
"""What is said of every step that an order takes."""
service = Service(
    "orders",
    says=(
        *HISTORY,
        ReserveStock,
        ReleaseStock,
        CommitStock,
        Restock,
        AuthorisePayment,
        CapturePayment,
        VoidPayment,
        RefundPayment,
    ),
    migrations="workers.orders.migrations",
)
service.provide(Patience())
service.measures("hedgerow_orders_open", "Orders under way.", label="status")(figures.count_open)
service.measures("hedgerow_order_age_seconds", "Since the oldest was placed.", label="status")(
    figures.age_of_the_oldest
)
service.measures("hedgerow_order_overdue_seconds", "For how long one should have stopped waiting.")(figures.overdue)

AboutAnOrder = (
    StockReserved
    | StockRefused
    | ReservationExpired
    | PaymentRequiresAction
    | PaymentAuthorised
    | PaymentDeclined
    | PaymentCaptured
    | CaptureFailed
    | PaymentVoided
    | PaymentRefunded
    | RefundFailed
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


@service.answers(GetOrder, http=Http("GET", "/orders/{id}", who="anyone"), then=say_what_to_do)
async def get_order(question: GetOrder, tx: Transaction, caller: Caller) -> Order | Refusal:
    if caller.id is None and question.order_token is None:
        return unauthenticated()
    row = await store.find(tx.connection, question.id)
    if row is None or not reading.may_see(row, caller, question.order_token):
        return no_such_order()
    return reading.order(row, await personal.opened(tx, row))


@service.answers(
    FollowOrder,
    http=Http("GET", "/orders/{id}/events", who="anyone"),
    stream=Streamed("after", dict.fromkeys(HISTORY, ("id", "order_id"))),
)
async def follow_order(question: FollowOrder, tx: Transaction, caller: Caller) -> Growing[Step] | Refusal:
    if caller.id is None and question.order_token is None:
        return unauthenticated()
    row = await store.find(tx.connection, question.id)
    if row is None or not reading.may_see(row, caller, question.order_token):
        return no_such_order()
    return Growing(items=reading.history(row)[question.after :], is_over=row["status"] in FINAL)


@service.answers(LookUpOrder)
async def look_up_order(question: LookUpOrder, tx: Transaction) -> Order | Refusal:
    row = await store.find(tx.connection, question.id)
    return reading.order(row, await personal.opened(tx, row)) if row else no_such_order()


@service.answers(ListOrders, http=Http("GET", "/orders"))
async def list_orders(question: ListOrders, tx: Transaction, caller: Caller) -> Page[Order] | Refusal:
    try:
        before = None if question.cursor is None else UUID(question.cursor)
    except ValueError:
        return invalid_request("", FieldError(pointer="/cursor", detail="is none of ours"))
    rows = await store.page(tx.session, question, caller, before)
    more = str(rows[question.limit - 1]["id"]) if len(rows) > question.limit else None
    shown = rows[: question.limit]
    private = await personal.all_opened(tx, shown)
    return Page(items=tuple(reading.order(row, private[row["id"]]) for row in shown), next=more)


# --- what people do with an order -------------------------------------------------------------------------------------


@service.answers(CancelOrder, http=Http("POST", "/orders/{id}/cancellation", status=202, who="anyone"))
async def cancel_order(asked: CancelOrder, tx: Transaction, caller: Caller, patience: Patience) -> Order | Refusal:
    if caller.id is None and asked.order_token is None:
        return unauthenticated()
    row = await store.find(tx.connection, asked.id, lock=True)
    if row is None or not reading.may_see(row, caller, asked.order_token):
        return no_such_order()
    if not await _drive(tx, row, Cancelled(), patience):
        return not_cancellable("A parcel of it has left." if row["shipments"] else f"It is {row['status']}.")
    return await _as_it_is(tx, asked.id)


@service.answers(ShipOrder, http=Http("POST", "/orders/{id}/shipments", status=201, who="staff"))
async def ship_order(asked: ShipOrder, tx: Transaction, patience: Patience) -> Shipment | Refusal:
    row = await store.find(tx.connection, asked.id, lock=True)
    if row is None:
        return no_such_order()
    if row["status"] not in ("confirmed", "shipped", "delivered"):
        return not_confirmed(f"It is {row['status']}.")
    leaving = counted(asked.lines) if asked.lines is not None else left_to_ship(reading.saga(row))
    shipment = Shipment(
        id=new_id(),
        lines=tuple(StockItem(sku=sku, quantity=quantity) for sku, quantity in leaving.items()),
        carrier=asked.carrier,
        tracking=asked.tracking,
        shipped_at=datetime.now(UTC),
    )
    return shipment if await _drive(tx, row, ParcelLeft(shipment), patience) else not_shippable()


@service.answers(DeliverOrder, http=Http("POST", "/orders/{id}/deliveries", status=201, who="staff"))
async def deliver_order(asked: DeliverOrder, tx: Transaction, patience: Patience) -> Order | Refusal:
    row = await store.find(tx.connection, asked.id, lock=True)
    if row is None:
        return no_such_order()
    if not await _drive(tx, row, ParcelsArrived(datetime.now(UTC), asked.shipment), patience):
        return not_deliverable()
    return await _as_it_is(tx, asked.id)


@service.answers(RefundOrder, http=Http("POST", "/orders/{id}/refunds", status=202, who="staff"))
async def refund_order(asked: RefundOrder, tx: Transaction, patience: Patience) -> Refund | Refusal:
    row = await store.find(tx.connection, asked.id, lock=True)
    if row is None:
        return no_such_order()
    if asked.amount is not None and asked.amount.currency != row["currency"]:
        return wrong_currency("", FieldError(pointer="/amount/currency", detail=f"It is {row['currency']}."))
    refund = plan_refund(
        reading.saga(row),
        new_id(),
        amount=asked.amount,
        lines=asked.lines,
        restock=asked.restock,
        now=datetime.now(UTC),
    )
    if refund is None or not await _drive(tx, row, RefundAsked(refund), patience):
        return refund_too_high()
    return refund


async def _as_it_is(tx: Transaction, order_id: UUID) -> Order | Refusal:
    row = await store.find(tx.connection, order_id)
    return no_such_order() if row is None else reading.order(row, await personal.opened(tx, row))


# --- the saga ---------------------------------------------------------------------------------------------------------


@service.hears(StockReserved)
@service.hears(StockRefused)
@service.hears(ReservationExpired)
@service.hears(PaymentRequiresAction)
@service.hears(PaymentAuthorised)
@service.hears(PaymentDeclined)
@service.hears(PaymentCaptured)
@service.hears(CaptureFailed)
@service.hears(PaymentVoided)
@service.hears(PaymentRefunded)
@service.hears(RefundFailed)
async def drive_the_saga(message: AboutAnOrder, tx: Transaction, patience: Patience) -> None:
    await _drive(tx, await store.lock(tx.connection, message.order_id), message, patience)


@service.every(seconds=1.0)
async def stop_waiting(tx: Transaction, patience: Patience) -> bool:
    """End the wait of one order whose time has run out; whether there may be more."""
    row = await store.lock_overdue(tx.connection)
    return row is not None and await _drive(tx, row, TimedOut(), patience)


async def _drive(tx: Transaction, row: store.Row, message: Input, patience: Patience) -> bool:
    """Do what the rules decide; whether the order changed."""
    before = reading.saga(row)
    after, said = decide(before, message)
    if after != before:
        await store.note(tx.connection, before, after, wait=patience.within(after.status))
        figures.note(before, after, row["placed_at"])
    tx.say(*said)
    return after != before


# --- what tells who a customer is -------------------------------------------------------------------------------------


@service.answers(ForgetGuest, http=Http("DELETE", "/orders/{id}/customer", status=204, who="anyone"))
async def forget_guest(asked: ForgetGuest, tx: Transaction, caller: Caller) -> Refusal | None:
    if caller.id is None and asked.order_token is None:
        return unauthenticated()
    row = await store.find(tx.connection, asked.id, lock=True)
    if row is None or not reading.may_see(row, caller, asked.order_token):
        return no_such_order()
    if row["customer_id"] is not None:
        return not_a_guests_order("It forgets its customer when the account is closed.")
    await tx.people.erase(row["id"])
    return None


@service.hears(UserErased)
async def forget_the_customer(event: UserErased, tx: Transaction) -> None:
    """Their orders stay, and tell nobody whose they are."""
    await tx.people.erase(event.user_id)


@service.at_start
async def seal_everything(tx: Transaction) -> None:
    while await personal.seal_some(tx):
        pass


@service.every(seconds=60.0)
async def seal_what_came_in_the_clear(tx: Transaction) -> bool:
    return await personal.seal_some(tx)


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
