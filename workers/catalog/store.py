"""The SQL of products, categories and quotes. Stock is in stock.py, what is asked for most in reading.py."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from contracts.base import Item, Money
from contracts.catalog import AddProduct, Category, Prices, Product, Quote
from workers.catalog.rules import ForSale
from workers.catalog.tables import CategoryRow, ProductRow, QuoteRow, StockRow

EXPIRED_QUOTES_ARE_KNOWN_FOR = timedelta(days=1)

_SAID: list[Any] = [getattr(ProductRow, name) for name in Product.model_fields if name not in ("price", "available")]
_SAID += [ProductRow.price_amount, ProductRow.price_currency]
_SAID += [(col(StockRow.on_hand) - col(StockRow.reserved)).label("available")]
_PRODUCT = (
    select(*_SAID)
    .join(StockRow, col(StockRow.sku) == col(ProductRow.sku))
    .where(col(ProductRow.sku) == bindparam("wanted"))
)


# --- products ---------------------------------------------------------------------------------------------------------


async def product(db: AsyncSession, sku: str) -> Product | None:
    """A product, archived or not."""
    row = (await db.execute(_PRODUCT, {"wanted": sku})).mappings().one_or_none()
    if row is None:
        return None
    columns = dict(row)
    price = Money(amount=columns.pop("price_amount"), currency=columns.pop("price_currency"))
    return Product(price=price, **columns)


async def for_sale(db: AsyncSession, items: Iterable[Item]) -> dict[str, ForSale]:
    """What prices are made of; what is archived or unknown is missing."""
    row = ProductRow
    columns: list[Any] = [row.sku, row.name, row.price_amount, row.price_currency, row.tax_class]
    rows = await db.execute(select(*columns).where(col(row.sku).in_({item.sku for item in items}), ~col(row.archived)))
    return by_sku(rows)


def by_sku(rows: Iterable[Any]) -> dict[str, ForSale]:
    """Rows of sku, name, amount, currency and tax class as what prices are made of."""
    return {
        sku: ForSale(name, Money(amount=amount, currency=currency), tax_class)
        for sku, name, amount, currency, tax_class in rows
    }


async def add_product(db: AsyncSession, ask: AddProduct, now: datetime) -> bool:
    """A new product with its stock; False where the sku is taken, also by somebody adding it at this moment."""
    columns = ask.model_dump(mode="json", exclude={"price", "on_hand"}) | _price(ask.price) | {"updated_at": now}
    added = upsert(ProductRow).values(columns).on_conflict_do_nothing().returning(col(ProductRow.sku))
    if await db.scalar(added) is None:
        return False
    await db.execute(insert(StockRow).values(sku=ask.sku, on_hand=ask.on_hand, reserved=0))
    return True


async def change_product(db: AsyncSession, sku: str, changes: dict[str, Any], now: datetime) -> bool:
    """Sets the named fields of `Product`; False where there is no such product."""
    columns = {name: value for name, value in changes.items() if name != "price"} | {"updated_at": now}
    if "price" in changes:
        columns |= _price(changes["price"])
    changed = update(ProductRow).where(col(ProductRow.sku) == sku).values(columns).returning(col(ProductRow.sku))
    return await db.scalar(changed) is not None


def _price(price: Money) -> dict[str, Any]:
    return {"price_amount": price.amount, "price_currency": price.currency}


# --- categories -------------------------------------------------------------------------------------------------------


async def categories(db: AsyncSession, *, after: str, limit: int) -> list[Category]:
    """The categories by slug."""
    statement = select(col(CategoryRow.slug), col(CategoryRow.name)).where(col(CategoryRow.slug) > after)
    rows = await db.execute(statement.order_by(col(CategoryRow.slug)).limit(limit))
    return [Category(slug=slug, name=name) for slug, name in rows]


async def put_category(db: AsyncSession, category: Category) -> None:
    """Makes the category, or renames it."""
    put = upsert(CategoryRow).values(slug=category.slug, name=category.name)
    await db.execute(put.on_conflict_do_update(index_elements=["slug"], set_={"name": category.name}))


async def ensure_category(db: AsyncSession, category: Category) -> None:
    """Makes the category where it is not there yet."""
    await db.execute(upsert(CategoryRow).values(slug=category.slug, name=category.name).on_conflict_do_nothing())


# --- quotes -----------------------------------------------------------------------------------------------------------


async def add_quote(db: AsyncSession, quote: Quote) -> None:
    """Keeps a quote."""
    prices = quote.model_dump(mode="json", include=set(Prices.model_fields))
    await db.execute(insert(QuoteRow).values(id=quote.id, prices=prices, expires_at=quote.expires_at))


async def quote(db: AsyncSession, quote_id: UUID) -> Quote | None:
    """A quote, expired or not."""
    row = await db.scalar(select(QuoteRow).where(col(QuoteRow.id) == quote_id))
    return Quote.model_validate({**row.prices, "id": row.id, "expires_at": row.expires_at}) if row else None


async def forget_old_quotes(db: AsyncSession, now: datetime, *, at_most: int) -> None:
    """Deletes quotes that expired long ago. Each new quote pays for a few old ones, so that no timer is needed."""
    old = select(col(QuoteRow.id)).where(col(QuoteRow.expires_at) < now - EXPIRED_QUOTES_ARE_KNOWN_FOR)
    some = old.limit(at_most).with_for_update(skip_locked=True)
    await db.execute(delete(QuoteRow).where(col(QuoteRow.id).in_(some)))
