"""The SQL of what is asked for most, straight through asyncpg (docs/decisions/0008-hot-reads.md).

Promise: PostgreSQL writes a product as the contract does.
"""

from collections.abc import Iterable

from broker.reader import Json, Reader
from contracts.base import Item
from contracts.catalog import Product
from workers.catalog.rules import ForSale
from workers.catalog.store import by_sku

_PRODUCTS = """
SELECT row_to_json(product), sku FROM (
  SELECT sku, name, description, category,
    json_build_object('amount', price_amount, 'currency', price_currency) AS price,
    tax_class, weight_grams, attributes, images, on_hand - reserved AS available, archived,
    to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at
  FROM products JOIN stock USING (sku)
"""
_PRODUCT = f"{_PRODUCTS} WHERE sku = $1) AS product"
_FOR_SALE = """
SELECT sku, name, price_amount, price_currency, tax_class FROM products WHERE sku = ANY($1) AND NOT archived
"""


async def product(reader: Reader, sku: str) -> Json[Product] | None:
    """A product, archived or not."""
    return await reader.json(_PRODUCT, sku)


async def products_for_sale(
    reader: Reader, *, after: str, limit: int, search: str | None, category: str | None
) -> dict[str, str]:
    """The products that are not archived, as JSON, by sku. `search` is a tsquery (listing.py)."""
    where, values = "NOT archived AND sku > $1", [after, limit]
    for condition, value in ("search @@ to_tsquery('simple', $%d)", search), ("category = $%d", category):
        if value is not None:
            values.append(value)
            where += " AND " + condition % len(values)
    rows = await reader.fetch(f"{_PRODUCTS} WHERE {where} ORDER BY sku LIMIT $2) AS product ORDER BY sku", *values)
    return {sku: written for written, sku in rows}


async def for_sale(reader: Reader, items: Iterable[Item]) -> dict[str, ForSale]:
    """What prices are made of; what is archived or unknown is missing."""
    return by_sku(await reader.fetch(_FOR_SALE, [item.sku for item in items]))
