"""The orders service: what it says of an order, and of itself."""

from broker.service import Service
from contracts.catalog import CommitStock, ReleaseStock, ReserveStock, Restock
from contracts.orders import (
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
)
from contracts.payments import AuthorisePayment, CapturePayment, RefundPayment, VoidPayment
from workers.orders import figures
from workers.orders.rules import Patience

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
