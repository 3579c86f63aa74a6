"""What the catalog service answers and does."""

from datetime import UTC, datetime
from uuid import UUID

from broker.ids import new_id
from broker.reader import Json, Reader, page
from broker.service import Cached, Http, Service
from broker.transaction import Transaction
from contracts.base import Caller, Page, Refusal
from contracts.catalog import (
    AddProduct,
    AvailabilityChanged,
    Category,
    ChangeProduct,
    CommitStock,
    GetProduct,
    GetQuote,
    ListCategories,
    ListProducts,
    MakeQuote,
    MoveStock,
    PriceItems,
    Prices,
    Product,
    ProductAdded,
    ProductChanged,
    PutCategory,
    Quote,
    ReleaseStock,
    ReservationExpired,
    ReserveStock,
    Restock,
    StockLevel,
    StockMoved,
    StockRefused,
    StockReserved,
    no_such_product,
    no_such_quote,
    quote_expired,
    sku_taken,
    stock_is_reserved,
)
from workers.catalog import reading, stock, store
from workers.catalog.listing import key_after, next_cursor, search_query
from workers.catalog.rules import QUOTE_LIFETIME, RESERVATION_LIFETIME, merge, named_after, price_items
from workers.catalog.tariffs import USUAL, Tariffs

service = Service(
    "catalog",
    says=(
        ProductAdded,
        ProductChanged,
        StockMoved,
        StockReserved,
        StockRefused,
        AvailabilityChanged,
        ReservationExpired,
    ),
    migrations="workers.catalog.migrations",
)

service.provide(USUAL)

_OF_AN_ORDER = (StockReserved, AvailabilityChanged, ReservationExpired)
_OF_A_PRODUCT = (ProductAdded, ProductChanged, StockMoved)
ONE_PRODUCT = Cached(
    60, {kind: ("sku", "sku") for kind in _OF_A_PRODUCT} | {kind: ("sku", "skus") for kind in _OF_AN_ORDER}
)
MANY_PRODUCTS = Cached(60, dict.fromkeys((*_OF_A_PRODUCT, *_OF_AN_ORDER)))


# --- products ---------------------------------------------------------------------------------------------------------


@service.answers(GetProduct, http=Http("GET", "/products/{sku}", who="anyone"), cache=ONE_PRODUCT)
async def get_product(question: GetProduct, reader: Reader) -> Json[Product] | Refusal:
    return await reading.product(reader, question.sku) or no_such_product()


@service.answers(ListProducts, http=Http("GET", "/products", who="anyone"), cache=MANY_PRODUCTS)
async def list_products(question: ListProducts, reader: Reader) -> Json[Page[Product]] | Refusal:
    after = key_after("products", question.cursor)
    if isinstance(after, Refusal):
        return after
    search, limit = search_query(question.q or ""), question.limit
    found = await reading.products_for_sale(
        reader, after=after, limit=limit + 1, search=search, category=question.category
    )
    return page([*found.values()][:limit], next_cursor("products", [*found], limit))


@service.answers(AddProduct, http=Http("POST", "/products", status=201, who="staff"))
async def add_product(ask: AddProduct, tx: Transaction) -> Product | Refusal:
    await store.ensure_category(tx.session, named_after(ask.category))
    if not await store.add_product(tx.session, ask, datetime.now(UTC)):
        return sku_taken()
    tx.emit(ProductAdded(sku=ask.sku, price=ask.price))
    return await store.product(tx.session, ask.sku) or no_such_product()


@service.answers(ChangeProduct, http=Http("PATCH", "/products/{sku}", who="staff"))
async def change_product(ask: ChangeProduct, tx: Transaction) -> Product | Refusal:
    changes = {name: getattr(ask, name) for name in ask.model_dump(exclude={"sku"}, exclude_none=True)}
    if ask.category is not None:
        await store.ensure_category(tx.session, named_after(ask.category))
    if changes and not await store.change_product(tx.session, ask.sku, changes, datetime.now(UTC)):
        return no_such_product()
    product = await store.product(tx.session, ask.sku)
    if product and changes:
        tx.emit(ProductChanged(sku=product.sku, price=product.price, archived=product.archived))
    return product or no_such_product()


# --- categories -------------------------------------------------------------------------------------------------------


@service.answers(ListCategories, http=Http("GET", "/categories", who="anyone"))
async def list_categories(question: ListCategories, tx: Transaction) -> Page[Category] | Refusal:
    after = key_after("categories", question.cursor)
    if isinstance(after, Refusal):
        return after
    found = await store.categories(tx.session, after=after, limit=question.limit + 1)
    following = next_cursor("categories", [category.slug for category in found], question.limit)
    return Page[Category](items=tuple(found[: question.limit]), next=following)


@service.answers(PutCategory, http=Http("PUT", "/categories/{slug}", who="staff"))
async def put_category(ask: PutCategory, tx: Transaction) -> Category:
    category = Category(slug=ask.slug, name=ask.name)
    await store.put_category(tx.session, category)
    return category


# --- prices -----------------------------------------------------------------------------------------------------------


@service.answers(PriceItems)
async def price_now(question: PriceItems, reader: Reader, tariffs: Tariffs) -> Prices | Refusal:
    products, method = await reading.for_sale(reader, question.items), question.shipping_method
    return price_items(question.items, products, tariffs, shipping_method=method, country=question.country)


@service.answers(MakeQuote, http=Http("POST", "/quotes", status=201, who="anyone"))
async def make_quote(ask: MakeQuote, tx: Transaction, tariffs: Tariffs) -> Quote | Refusal:
    products = await store.for_sale(tx.session, ask.items)
    prices = price_items(ask.items, products, tariffs, shipping_method=ask.shipping_method, country=ask.country)
    if isinstance(prices, Refusal):
        return prices
    now = datetime.now(UTC)
    quote = Quote(id=new_id(), lines=prices.lines, total=prices.total, expires_at=now + QUOTE_LIFETIME)
    await store.forget_old_quotes(tx.session, now, at_most=10)
    await store.add_quote(tx.session, quote)
    return quote


@service.answers(GetQuote)
async def get_quote(question: GetQuote, tx: Transaction) -> Quote | Refusal:
    quote = await store.quote(tx.session, question.id)
    if quote is None:
        return no_such_quote()
    return quote if datetime.now(UTC) < quote.expires_at else quote_expired()


# --- stock ------------------------------------------------------------------------------------------------------------


@service.answers(MoveStock, http=Http("POST", "/products/{sku}/stock-movements", status=201, who="staff"))
async def move_stock(ask: MoveStock, tx: Transaction, caller: Caller) -> StockLevel | Refusal:
    level = await stock.move(tx.session, ask)
    if level is None:
        return stock_is_reserved() if await stock.is_known(tx.session, ask.sku) else no_such_product()
    await stock.record_movement(tx.session, ask, level.on_hand, caller.id, datetime.now(UTC))
    tx.emit(StockMoved(sku=ask.sku, delta=ask.delta, on_hand=level.on_hand))
    return level


@service.does(ReserveStock)
async def reserve_stock(command: ReserveStock, tx: Transaction) -> None:
    order_id, items = command.order_id, merge(command.items)
    if not await stock.open_reservation(tx.connection, order_id, items, datetime.now(UTC) + RESERVATION_LIFETIME):
        return
    short = await stock.reserve(tx.connection, items)
    if short:
        await stock.refuse_reservation(tx.connection, order_id)
        tx.emit(StockRefused(order_id=order_id, skus=short))
    else:
        tx.emit(StockReserved(order_id=order_id, skus=tuple(items)))


@service.does(ReleaseStock)
async def release_stock(command: ReleaseStock, tx: Transaction) -> None:
    _tell_of(command.order_id, await stock.release(tx.connection, command.order_id), tx)


@service.does(CommitStock)
async def commit_stock(command: CommitStock, tx: Transaction) -> None:
    _tell_of(command.order_id, await stock.commit(tx.connection, command.order_id), tx)


@service.does(Restock)
async def restock(command: Restock, tx: Transaction) -> None:
    _tell_of(command.order_id, await stock.restock(tx.connection, command.order_id, merge(command.items)), tx)


def _tell_of(order_id: UUID, skus: tuple[str, ...], tx: Transaction) -> None:
    if skus:
        tx.emit(AvailabilityChanged(order_id=order_id, skus=skus))


@service.every(seconds=5.0)
async def expire_reservations(tx: Transaction) -> bool:
    """Let go of one reservation that nobody committed in time; whether there may be more."""
    expired = await stock.expire(tx.connection)
    if expired is not None:
        tx.emit(expired)
    return expired is not None
