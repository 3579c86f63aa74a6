"""What is said to and by the orders service."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from contracts.base import (
    Address,
    Email,
    Event,
    Growing,
    Item,
    Line,
    Message,
    Moment,
    Money,
    Name,
    Operation,
    Page,
    PageQuery,
    Query,
    Secret,
    Slug,
    refusal,
)
from contracts.catalog import StockItem, mixed_currencies, quote_expired, unknown_shipping_method, unknown_sku
from contracts.payments import NextAction

no_such_order = refusal("no-such-order", 404, "There is no such order.")
email_needed = refusal("email-needed", 422, "A guest's order needs an email address.")
items_or_quote = refusal("items-or-quote", 422, "An order has either items or a quote.")
unknown_quote = refusal("unknown-quote", 422, "There is no such quote.")
nothing_to_pay = refusal("nothing-to-pay", 422, "An order must cost something.")
not_cancellable = refusal("not-cancellable", 409, "This order can't be cancelled any more.")
not_a_guests_order = refusal("not-a-guests-order", 409, "This order belongs to an account.")
not_confirmed = refusal("not-confirmed", 409, "This order is not confirmed.")
not_shippable = refusal("not-shippable", 409, "There is not so much left of this order to ship.")
not_deliverable = refusal("not-deliverable", 409, "Nothing of this order is on its way.")
refund_too_high = refusal("refund-too-high", 409, "This is more than what was captured and not refunded yet.")
wrong_currency = refusal("wrong-currency", 422, "The order has another currency.")

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
    client_secret: Secret | None = None
    next_action: NextAction | None = None


class Shipment(Message):
    """A parcel that left."""

    id: UUID
    lines: tuple[StockItem, ...]
    carrier: str
    tracking: str
    shipped_at: Moment
    delivered_at: Moment | None = None


class Refund(Message):
    """Money that goes back, and with `restock` the goods that came back for it. Of these, `never_shipped` had not left
    the house, and won't."""

    id: UUID
    amount: Money
    status: Literal["pending", "refunded", "failed"]
    lines: tuple[StockItem, ...] = ()
    never_shipped: tuple[StockItem, ...] = ()
    restock: bool
    created_at: Moment


class Order(Message):
    """An order as its owner sees it. `order_token` is there once: in the answer that placed a guest's order."""

    id: UUID
    number: str
    status: Status
    reason: Reason | None = None
    lines: tuple[Line, ...]
    total: Money
    payment: Payment
    email: Secret | None = None
    shipping_address: Address | None = None
    billing_address: Address | None = None
    shipping_method: str | None = None
    shipments: tuple[Shipment, ...] = ()
    refunds: tuple[Refund, ...] = ()
    metadata: dict[str, str] = {}
    created_at: Moment
    history: tuple[Step, ...]
    order_token: Secret | None = None


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
    order_token: Annotated[Secret, StringConstraints(max_length=100)] | None = None


class FollowOrder(Query[Growing[Step]]):
    """The history of an order, as it happens: an entry is told as soon as it is there."""

    topic: ClassVar[str] = "orders.follow-order.v1"
    refusals = (no_such_order,)
    id: UUID
    order_token: Annotated[Secret, StringConstraints(max_length=100)] | None = None
    after: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class LookUpOrder(Query[Order]):
    """Any order, for the platform's own services: it has no route."""

    topic: ClassVar[str] = "orders.look-up-order.v1"
    refusals = (no_such_order,)
    id: UUID


class ListOrders(PageQuery[Page[Order]]):
    """The caller's orders (staff: everybody's), newest first; `q` is an order's number."""

    topic: ClassVar[str] = "orders.list-orders.v1"
    status: Status | None = None
    since: Moment | None = None
    q: Annotated[str, StringConstraints(max_length=100)] | None = None


class CancelOrder(Operation[Order]):
    """Call an order off: its goods are for sale again, its money is let go or given back. A guest cancels with the
    order's token."""

    topic: ClassVar[str] = "orders.cancel-order.v1"
    refusals = (no_such_order, not_cancellable)
    id: UUID
    order_token: Annotated[Secret, StringConstraints(max_length=100)] | None = None


class ForgetGuest(Operation[None]):
    """Erase what tells who placed a guest's order, for ever and in every backup; the order itself stays. By the order's
    token, or by staff."""

    topic: ClassVar[str] = "orders.forget-guest.v1"
    refusals = (no_such_order, not_a_guests_order)
    id: UUID
    order_token: Annotated[Secret, StringConstraints(max_length=100)] | None = None


class ShipOrder(Operation[Shipment]):
    """Send a parcel: these lines, or all that is left."""

    topic: ClassVar[str] = "orders.ship-order.v1"
    refusals = (no_such_order, not_confirmed, not_shippable)
    id: UUID
    lines: Annotated[tuple[Item, ...], Field(min_length=1, max_length=100)] | None = None
    carrier: Name
    tracking: Name


class DeliverOrder(Operation[Order]):
    """A parcel arrived; without `shipment` all that are on their way."""

    topic: ClassVar[str] = "orders.deliver-order.v1"
    refusals = (no_such_order, not_deliverable)
    id: UUID
    shipment: UUID | None = None


class RefundOrder(Operation[Refund]):
    """Give money back: an amount, what these lines cost, or all that is left. `restock` puts the lines (without any:
    everything) back into the stock once the money is back: what was shipped came back; what is more than that is not
    shipped any more."""

    topic: ClassVar[str] = "orders.refund-order.v1"
    refusals = (no_such_order, refund_too_high, wrong_currency)
    id: UUID
    amount: Money | None = None
    lines: Annotated[tuple[Item, ...], Field(min_length=1, max_length=100)] | None = None
    restock: bool


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


class OrderAwaitsCustomer(Event):
    """The customer's bank wants to hear from the customer before the payment is authorised."""

    topic: ClassVar[str] = "orders.order-awaits-customer.v1"
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


class OrderCancelled(Event):
    """The order was called off. What it held is for sale again; what was paid for it goes back."""

    topic: ClassVar[str] = "orders.order-cancelled.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    customer_id: UUID | None = None


class OrderShipped(Event):
    """A parcel left; `complete` says that nothing is left to ship."""

    topic: ClassVar[str] = "orders.order-shipped.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    customer_id: UUID | None = None
    shipment_id: UUID
    items: tuple[StockItem, ...]
    complete: bool


class OrderDelivered(Event):
    """Everything arrived."""

    topic: ClassVar[str] = "orders.order-delivered.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    customer_id: UUID | None = None


class OrderRefunded(Event):
    """Money went back to the customer; `refunded` is the sum of all that did."""

    topic: ClassVar[str] = "orders.order-refunded.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    customer_id: UUID | None = None
    refund_id: UUID
    amount: Money
    refunded: Money
