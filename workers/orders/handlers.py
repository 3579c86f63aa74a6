"""What the orders service answers and hears, beside placing orders (placing.py) and driving them (driving.py)."""

from datetime import UTC, datetime
from uuid import UUID

from broker.ids import new_id
from broker.service import Http, Streamed
from broker.transaction import Transaction
from contracts.base import Caller, FieldError, Growing, Page, Refusal, invalid_request, unauthenticated
from contracts.catalog import StockItem
from contracts.orders import (
    CancelOrder,
    DeliverOrder,
    FollowOrder,
    ForgetGuest,
    GetOrder,
    ListOrders,
    LookUpOrder,
    Order,
    Refund,
    RefundOrder,
    Shipment,
    ShipOrder,
    Step,
    no_such_order,
    not_a_guests_order,
    not_cancellable,
    not_confirmed,
    not_deliverable,
    not_shippable,
    refund_too_high,
    wrong_currency,
)
from contracts.users import UserErased
from workers.orders import personal, reading, store
from workers.orders.driving import drive
from workers.orders.placing import say_what_to_do
from workers.orders.rules import (
    FINAL,
    Cancelled,
    ParcelLeft,
    ParcelsArrived,
    Patience,
    RefundAsked,
    counted,
    left_to_ship,
    plan_refund,
)
from workers.orders.service import HISTORY, service

__all__ = ["service"]


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
    if not await drive(tx, row, Cancelled(), patience):
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
    return shipment if await drive(tx, row, ParcelLeft(shipment), patience) else not_shippable()


@service.answers(DeliverOrder, http=Http("POST", "/orders/{id}/deliveries", status=201, who="staff"))
async def deliver_order(asked: DeliverOrder, tx: Transaction, patience: Patience) -> Order | Refusal:
    row = await store.find(tx.connection, asked.id, lock=True)
    if row is None:
        return no_such_order()
    if not await drive(tx, row, ParcelsArrived(datetime.now(UTC), asked.shipment), patience):
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
    if refund is None or not await drive(tx, row, RefundAsked(refund), patience):
        return refund_too_high()
    return refund


async def _as_it_is(tx: Transaction, order_id: UUID) -> Order | Refusal:
    row = await store.find(tx.connection, order_id)
    return no_such_order() if row is None else reading.order(row, await personal.opened(tx, row))


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
