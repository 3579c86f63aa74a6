"""The shell of the saga: what the rules decide becomes true with the message, or not at all.

Promise: an order is locked before anything is decided for it; the rules (rules.py) decide, nothing here does.
"""

from broker.transaction import Transaction
from contracts.catalog import ReservationExpired, StockRefused, StockReserved
from contracts.payments import (
    CaptureFailed,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequiresAction,
    PaymentVoided,
    RefundFailed,
)
from workers.orders import figures, reading, store
from workers.orders.rules import Input, Patience, TimedOut, decide
from workers.orders.service import service

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
    await drive(tx, await store.lock(tx.connection, message.order_id), message, patience)


@service.every(seconds=1.0)
async def stop_waiting(tx: Transaction, patience: Patience) -> bool:
    """End the wait of one order whose time has run out; whether there may be more."""
    row = await store.lock_overdue(tx.connection)
    return row is not None and await drive(tx, row, TimedOut(), patience)


async def drive(tx: Transaction, row: store.Row, message: Input, patience: Patience) -> bool:
    """Do what the rules decide; whether the order changed."""
    before = reading.saga(row)
    after, said = decide(before, message)
    if after != before:
        await store.note(tx.connection, before, after, wait=patience.within(after.status))
        figures.note(before, after, row["placed_at"])
    tx.say(*said)
    return after != before
