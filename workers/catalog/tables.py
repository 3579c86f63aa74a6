"""What the catalog service keeps."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, Computed, DateTime, Index, MetaData, Text, text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlmodel import Field, SQLModel

from broker.tables import NAMES

# Keys sort by bytes: a page goes on where it stopped whatever the database's locale.
Key = Text(collation="C")
Time = DateTime(timezone=True)

# Made of the same separators as `search_query` (listing.py); doubled quote and backslash as SQL has them.
SEARCHED = (
    "to_tsvector('simple', translate(sku || ' ' || name || ' ' || description, "
    r"""'!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', repeat(' ', 32)))"""
)


class CatalogTable(SQLModel):
    """A table in the schema of this service."""

    metadata = MetaData(naming_convention=NAMES)


class CategoryRow(CatalogTable, table=True):
    """A shelf of the shop."""

    __tablename__ = "categories"
    slug: str = Field(primary_key=True, sa_type=Key)
    name: str = Field(sa_type=Text)


class ProductRow(CatalogTable, table=True):
    """What a product is. How many there are is in `stock`, so that selling does not index words again."""

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("price_amount >= 0", name="price_amount"),
        CheckConstraint("tax_class IN ('standard', 'reduced', 'zero')", name="tax_class"),
        Index("products_search_idx", "search", postgresql_using="gin"),
        Index("products_category_sku_idx", "category", "sku", postgresql_where=text("NOT archived")),
    )
    sku: str = Field(primary_key=True, sa_type=Key)
    name: str = Field(sa_type=Text)
    description: str = Field(sa_type=Text)
    category: str = Field(foreign_key="categories.slug", sa_type=Key)
    price_amount: int = Field(sa_type=BigInteger)
    price_currency: str = Field(sa_type=Text)
    tax_class: str = Field(sa_type=Text)
    weight_grams: int = Field(sa_type=BigInteger)
    attributes: dict[str, str] = Field(sa_type=JSONB)
    images: list[str] = Field(sa_type=JSONB)
    archived: bool
    updated_at: datetime = Field(sa_type=Time)
    search: Any = Field(default=None, sa_column=Column(TSVECTOR, Computed(SEARCHED, persisted=True)))


class StockRow(CatalogTable, table=True):
    """How many of a product there are, and how many of these are promised to orders."""

    __tablename__ = "stock"
    __table_args__ = (CheckConstraint("0 <= reserved AND reserved <= on_hand", name="reserved"),)
    sku: str = Field(primary_key=True, foreign_key="products.sku", sa_type=Key)
    on_hand: int = Field(sa_type=BigInteger)
    reserved: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


class MovementRow(CatalogTable, table=True):
    """Goods came in, went out or were counted: why, by whom, and how many there were afterwards."""

    __tablename__ = "stock_movements"
    id: UUID = Field(primary_key=True)
    sku: str = Field(foreign_key="products.sku", index=True, sa_type=Key)
    delta: int = Field(sa_type=BigInteger)
    on_hand: int = Field(sa_type=BigInteger)
    reason: str = Field(sa_type=Text)
    reference: str | None = Field(sa_type=Text, nullable=True)
    moved_by: UUID | None
    moved_at: datetime = Field(sa_type=Time)


class ReservationRow(CatalogTable, table=True):
    """What an order holds (`reserved`), held (`released`; `expired` where nobody said a word in time), bought
    (`committed`) or could not get (`refused`).

    One row an order, for ever: it is the memory that makes the commands idempotent. `items` is sku -> quantity, and so
    is `returned`: what came back before it was known to be bought. A release that comes before its reservation leaves a
    released row without items, which the reservation then finds.
    """

    __tablename__ = "reservations"
    __table_args__ = (
        CheckConstraint("state IN ('reserved', 'released', 'expired', 'committed', 'refused')", name="state"),
        Index("reservations_expires_at_idx", "expires_at", postgresql_where=text("state = 'reserved'")),
    )
    order_id: UUID = Field(primary_key=True)
    state: str = Field(sa_type=Text)
    items: dict[str, int] = Field(sa_type=JSONB)
    returned: dict[str, int] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": "{}"})
    expires_at: datetime | None = Field(sa_type=Time, nullable=True)


class QuoteRow(CatalogTable, table=True):
    """Prices that were promised. `prices` is `contracts.catalog.Prices` as JSON."""

    __tablename__ = "quotes"
    id: UUID = Field(primary_key=True)
    prices: dict[str, Any] = Field(sa_type=JSONB)
    expires_at: datetime = Field(index=True, sa_type=Time)
