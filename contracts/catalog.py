"""What is said to and by the catalog service."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from contracts.base import (
    Command,
    Event,
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
    Sku,
    Slug,
    refusal,
)

no_such_product = refusal("no-such-product", 404, "There is no such product.")
sku_taken = refusal("sku-taken", 409, "There is a product with this sku already.")
stock_is_reserved = refusal("stock-is-reserved", 409, "The stock would fall below what is reserved.")
unknown_sku = refusal("unknown-sku", 422, "One of the products does not exist or is not for sale.")
mixed_currencies = refusal("mixed-currencies", 422, "All the products of an order must have one currency.")
unknown_shipping_method = refusal("unknown-shipping-method", 422, "There is no such shipping method.")
no_such_quote = refusal("no-such-quote", 404, "There is no such quote.")
quote_expired = refusal("quote-expired", 409, "This quote has expired. Ask for a new one.")

Text = Annotated[str, StringConstraints(max_length=10_000)]
Url = Annotated[str, StringConstraints(max_length=2_000)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Value = Annotated[str, StringConstraints(max_length=1_000)]
Stock = Annotated[int, Field(ge=0, le=1_000_000_000)]
Grams = Annotated[int, Field(ge=0, le=1_000_000_000)]
TaxClass = Literal["standard", "reduced", "zero"]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Items = Annotated[tuple[Item, ...], Field(min_length=1, max_length=100)]


class Product(Message):
    """Something for sale. `price` includes tax; `available` is what can be ordered now."""

    sku: str
    name: str
    description: str
    category: str
    price: Money
    tax_class: TaxClass
    weight_grams: int
    attributes: dict[str, str]
    images: tuple[str, ...]
    available: int
    archived: bool
    updated_at: Moment


class StockLevel(Message):
    """How many there are; `available` = `on_hand` - `reserved`."""

    sku: str
    on_hand: int
    reserved: int
    available: int


class Category(Message):
    """A shelf of the shop."""

    slug: str
    name: str


class Prices(Message):
    """What these items cost now. `total` is the sum of the lines' gross amounts."""

    lines: tuple[Line, ...]
    total: Money


class Quote(Prices):
    """Prices that are kept until `expires_at`."""

    id: UUID
    expires_at: Moment


class ListProducts(PageQuery[Page[Product]]):
    """Search the products that are for sale, by words and by category."""

    topic: ClassVar[str] = "catalog.list-products.v1"
    q: Annotated[str, StringConstraints(max_length=200)] | None = None
    category: Slug | None = None


class GetProduct(Query[Product]):
    """One product."""

    topic: ClassVar[str] = "catalog.get-product.v1"
    refusals = (no_such_product,)
    sku: Sku


class AddProduct(Operation[Product]):
    """Put a product on sale. A category that is not there yet is made, named after its slug."""

    topic: ClassVar[str] = "catalog.add-product.v1"
    refusals = (sku_taken,)
    sku: Sku
    name: Name
    category: Slug
    price: Money
    on_hand: Stock
    description: Text = ""
    tax_class: TaxClass = "standard"
    weight_grams: Grams = 0
    attributes: Annotated[dict[Key, Value], Field(max_length=50)] = {}
    images: Annotated[tuple[Url, ...], Field(max_length=20)] = ()
    archived: bool = False


class ChangeProduct(Operation[Product]):
    """Change a product; what is left out stays."""

    topic: ClassVar[str] = "catalog.change-product.v1"
    refusals = (no_such_product,)
    sku: Sku
    name: Name | None = None
    category: Slug | None = None
    price: Money | None = None
    description: Text | None = None
    tax_class: TaxClass | None = None
    weight_grams: Grams | None = None
    attributes: Annotated[dict[Key, Value], Field(max_length=50)] | None = None
    images: Annotated[tuple[Url, ...], Field(max_length=20)] | None = None
    archived: bool | None = None


class MoveStock(Operation[StockLevel]):
    """Goods came in, went out or were counted."""

    topic: ClassVar[str] = "catalog.move-stock.v1"
    refusals = (no_such_product, stock_is_reserved)
    sku: Sku
    delta: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)]
    reason: Name
    reference: Name | None = None


class ListCategories(PageQuery[Page[Category]]):
    """All categories."""

    topic: ClassVar[str] = "catalog.list-categories.v1"


class PutCategory(Operation[Category]):
    """Make or rename a category."""

    topic: ClassVar[str] = "catalog.put-category.v1"
    slug: Slug
    name: Name


class MakeQuote(Operation[Quote]):
    """Price items and keep the prices for a while."""

    topic: ClassVar[str] = "catalog.make-quote.v1"
    refusals = (unknown_sku, mixed_currencies, unknown_shipping_method)
    items: Items
    shipping_method: Slug | None = None
    country: Country | None = None


class PriceItems(Query[Prices]):
    """Price items as they are now, without keeping anything."""

    topic: ClassVar[str] = "catalog.price-items.v1"
    refusals = (unknown_sku, mixed_currencies, unknown_shipping_method)
    items: Items
    shipping_method: Slug | None = None
    country: Country | None = None


class GetQuote(Query[Quote]):
    """A quote that has not expired."""

    topic: ClassVar[str] = "catalog.get-quote.v1"
    refusals = (no_such_quote, quote_expired)
    id: UUID


class StockItem(Message):
    """So many of a product, within a durable message."""

    sku: str
    quantity: Annotated[int, Field(ge=1)]


class ReserveStock(Command):
    """Set stock aside for an order: all of its items or none."""

    topic: ClassVar[str] = "catalog.reserve-stock.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    items: tuple[StockItem, ...]


class ReleaseStock(Command):
    """Give back all that the order holds: what is reserved, or what was sold to it and has not left the house."""

    topic: ClassVar[str] = "catalog.release-stock.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID


class CommitStock(Command):
    """What was reserved for an order is sold: it leaves the stock."""

    topic: ClassVar[str] = "catalog.commit-stock.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID


class Restock(Command):
    """Goods of an order came back. Asked again with the same `refund_id` it has one effect."""

    topic: ClassVar[str] = "catalog.restock.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    refund_id: UUID
    items: tuple[StockItem, ...]


class StockReserved(Event):
    """All items of the order are set aside."""

    topic: ClassVar[str] = "catalog.stock-reserved.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    skus: tuple[str, ...] = ()


class StockRefused(Event):
    """There is not enough of these products for the order; nothing was set aside."""

    topic: ClassVar[str] = "catalog.stock-refused.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    skus: tuple[str, ...]


class ReservationExpired(Event):
    """What was set aside for the order is for sale again: nobody said in time that it is sold."""

    topic: ClassVar[str] = "catalog.reservation-expired.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    skus: tuple[str, ...] = ()


class AvailabilityChanged(Event):
    """Of these products there is more or less for sale than before, because of what became of an order."""

    topic: ClassVar[str] = "catalog.availability-changed.v1"
    subject: ClassVar[str] = "order_id"
    order_id: UUID
    skus: tuple[str, ...]


class ProductAdded(Event):
    """A product went on sale."""

    topic: ClassVar[str] = "catalog.product-added.v1"
    subject: ClassVar[str] = "sku"
    sku: str
    price: Money


class ProductChanged(Event):
    """A product's description or price changed."""

    topic: ClassVar[str] = "catalog.product-changed.v1"
    subject: ClassVar[str] = "sku"
    sku: str
    price: Money
    archived: bool


class StockMoved(Event):
    """Goods came in, went out or were counted (orders do not count: see StockReserved)."""

    topic: ClassVar[str] = "catalog.stock-moved.v1"
    subject: ClassVar[str] = "sku"
    sku: str
    delta: int
    on_hand: int
