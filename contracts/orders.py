"""What is said to and by the orders service."""

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from contracts.base import (
    Address,
    Email,
    Event,
    Item,
    Line,
    Message,
    Moment,
    Money,
    Operation,
    Page,
    PageQuery,
    Query,
    Slug,
    refusal,
)
from contracts.catalog import StockItem, mixed_currencies, quote_expired, unknown_shipping_method, unknown_sku

no_such_order = refusal("no-such-order", 404, "There is no such order.")
email_needed = refusal("email-needed", 422, "A guest's order needs an email address.")
items_or_quote = refusal("items-or-quote", 422, "An order has either items or a quote.")
unknown_quote = refusal("unknown-quote", 422, "There is no such quote.")
nothing_to_pay = refusal("nothing-to-pay", 422, "An order must cost something.")

Status = Literal[
    "placed",
    "reserved",
    "awaiting-customer",
    "authorised",
    "confirmed",
    "shipped",
    "delivered",
    "rejected",
    "cancelled",
    "refunded",
]
Reason = Literal["out-of-stock", "payment-declined", "payment-timeout", "capture-failed"]
PaymentStatus = Literal[
    "pending",
    "requires-action",
    "authorised",
    "captured",
    "declined",
    "failed",
    "voided",
    "unknown",
    "partially-refunded",
    "refunded",
]

PaymentMethod = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,100}$")]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=40)]
MetadataValue = Annotated[str, StringConstraints(max_length=500)]


class Step(Message):
    """A status that the order reached, and when."""

    status: Status
    at: Moment


class Payment(Message):
    """Where the money is. `next_action` tells the customer's browser what to do when the bank asks for it."""

    status: PaymentStatus
    client_secret: str | None = None
    next_action: dict[str, Any] | None = None


class ShipmentLine(Message):
    """So many of a product in a parcel."""

    sku: str
    quantity: int


class Shipment(Message):
    """A parcel that left."""

    id: UUID
    lines: tuple[ShipmentLine, ...]
    carrier: str
    tracking: str
    shipped_at: Moment
    delivered_at: Moment | None = None


class Order(Message):
    """An order as its owner sees it. `order_token` is there once: in the answer that placed a guest's order."""

    id: UUID
    number: str
    status: Status
    reason: Reason | None = None
    lines: tuple[Line, ...]
    total: Money
    payment: Payment
    email: str | None = None
    shipping_address: Address | None = None
    billing_address: Address | None = None
    shipping_method: str | None = None
    shipments: tuple[Shipment, ...] = ()
    metadata: dict[str, str] = {}
    created_at: Moment
    history: tuple[Step, ...]
    order_token: str | None = None


class PlaceOrder(Operation[Order]):
    """Buy items at today's prices, or what a quote names at the quote's prices.

    The answer comes when the order has settled, or after `wait_seconds`.
    """

    topic: ClassVar[str] = "orders.place-order.v1"
    refusals = (
        unknown_sku,
        mixed_currencies,
        unknown_shipping_method,
        quote_expired,
        unknown_quote,
        email_needed,
        items_or_quote,
        nothing_to_pay,
    )
    items: Annotated[tuple[Item, ...], Field(min_length=1, max_length=100)] | None = None
    quote: UUID | None = None
    payment_method: PaymentMethod
    email: Email | None = None
    shipping_address: Address | None = None
    billing_address: Address | None = None
    shipping_method: Slug | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)] = {}
    wait_seconds: Annotated[int, Field(ge=0, le=30)] = 0


class GetOrder(Query[Order]):
    """One order: its owner's, or with the token that came with a guest's order."""

    topic: ClassVar[str] = "orders.get-order.v1"
    refusals = (no_such_order,)
    id: UUID
    order_token: Annotated[str, StringConstraints(max_length=100)] | None = None


class ListOrders(PageQuery[Page[Order]]):
    """The caller's orders (staff: everybody's), newest first; `q` is an order's number."""

    topic: ClassVar[str] = "orders.list-orders.v1"
    status: Status | None = None
    since: Moment | None = None
    q: Annotated[str, StringConstraints(max_length=100)] | None = None


class OrderPlaced(Event):
    """An order was accepted; nothing is reserved or paid yet."""

    topic: ClassVar[str] = "orders.order-placed.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    number: str
    customer_id: UUID | None = None
    items: tuple[StockItem, ...]
    total: Money
    placed_at: Moment


class OrderReserved(Event):
    """The order's items are set aside."""

    topic: ClassVar[str] = "orders.order-reserved.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID


class OrderAuthorised(Event):
    """The order's payment is authorised; the money is not captured yet."""

    topic: ClassVar[str] = "orders.order-authorised.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID


class OrderConfirmed(Event):
    """The order's money is captured."""

    topic: ClassVar[str] = "orders.order-confirmed.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    customer_id: UUID | None = None
    items: tuple[StockItem, ...]
    total: Money


class OrderRejected(Event):
    """The order came to nothing, and everything done for it is undone or being undone."""

    topic: ClassVar[str] = "orders.order-rejected.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    customer_id: UUID | None = None
    reason: Reason
