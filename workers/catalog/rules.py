"""What things cost. Pure: no database, no clock, no settings.

Prices include tax. A line's gross amount is the price times the quantity, whatever the country; the tax within it is
rounded half up, once a line, and the net amount is the rest, so the three always add up.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from contracts.base import MAX_AMOUNT, FieldError, Item, Line, Money, Refusal, invalid_request
from contracts.catalog import (
    Category,
    Prices,
    StockItem,
    TaxClass,
    mixed_currencies,
    unknown_shipping_method,
    unknown_sku,
)
from workers.catalog.tariffs import ShippingMethod, Tariffs

QUOTE_LIFETIME = timedelta(minutes=30)
RESERVATION_LIFETIME = timedelta(days=1)


@dataclass(frozen=True)
class ForSale:
    """What a price needs to know of a product."""

    name: str
    price: Money
    tax_class: TaxClass


def tax_within(gross: int, rate: Decimal) -> int:
    """The tax that a gross amount includes, gross * rate / (1 + rate), rounded half up; in integers, so it is exact."""
    part, whole = rate.as_integer_ratio()
    return (2 * gross * part + whole + part) // (2 * (whole + part))


def merge(items: Iterable[Item | StockItem]) -> dict[str, int]:
    """The quantity of each sku, in the order in which the skus came first."""
    quantities: dict[str, int] = {}
    for item in items:
        quantities[item.sku] = quantities.get(item.sku, 0) + item.quantity
    return quantities


def price_items(
    items: Sequence[Item],
    products: Mapping[str, ForSale],
    tariffs: Tariffs,
    *,
    shipping_method: str | None,
    country: str | None,
) -> Prices | Refusal:
    """What the items cost. `products` holds those that are for sale; a sku that comes twice becomes one line."""
    refused = _not_for_sale(items, products) or _not_shipped_by(shipping_method, tariffs)
    if refused:
        return refused
    lines = [
        _item_line(product := products[sku], sku, quantity, tariffs.rate(country, product.tax_class))
        for sku, quantity in merge(items).items()
    ]
    if shipping_method:
        rate = tariffs.rate(country, "standard")
        lines.append(_shipping_line(tariffs.shipping[shipping_method], lines[0].currency, rate))
    total = sum(line.gross for line in lines)
    if total > MAX_AMOUNT:
        return invalid_request("This costs too much.", FieldError(pointer="/items", detail=f"At most {MAX_AMOUNT}."))
    return Prices(lines=tuple(map(_said, lines)), total=Money(amount=total, currency=lines[0].currency))


def _not_for_sale(items: Sequence[Item], products: Mapping[str, ForSale]) -> Refusal | None:
    unknown = [n for n, item in enumerate(items) if item.sku not in products]
    if unknown:
        return unknown_sku("", *(FieldError(pointer=f"/items/{n}/sku", detail="Not for sale.") for n in unknown))
    currencies = {products[item.sku].price.currency for item in items}
    if len(currencies) > 1:
        return mixed_currencies("", FieldError(pointer="/items", detail=f"Found {', '.join(sorted(currencies))}."))
    return None


def _not_shipped_by(method: str | None, tariffs: Tariffs) -> Refusal | None:
    if method is None or method in tariffs.shipping:
        return None
    known = ", ".join(tariffs.shipping)
    return unknown_shipping_method("", FieldError(pointer="/shipping_method", detail=f"Choose one of {known}."))


@dataclass(frozen=True)
class _Line:
    """A line before its sums are known to be small enough to be said."""

    kind: Literal["item", "shipping"]
    sku: str | None
    name: str
    quantity: int
    gross: int
    currency: str
    rate: Decimal


def _item_line(product: ForSale, sku: str, quantity: int, rate: Decimal) -> _Line:
    gross = product.price.amount * quantity
    return _Line("item", sku, product.name, quantity, gross, product.price.currency, rate)


def _shipping_line(method: ShippingMethod, currency: str, rate: Decimal) -> _Line:
    return _Line("shipping", None, method.name, 1, method.amount, currency, rate)


def _said(line: _Line) -> Line:
    tax = tax_within(line.gross, line.rate)
    net, tax_, gross = (Money(amount=n, currency=line.currency) for n in (line.gross - tax, tax, line.gross))
    return Line(
        kind=line.kind,
        sku=line.sku,
        name=line.name,
        quantity=line.quantity,
        net=net,
        tax_rate=line.rate,
        tax=tax_,
        gross=gross,
    )


def named_after(slug: str) -> Category:
    """The category that a slug stands for until somebody names it: `green-tea` is "Green tea"."""
    return Category(slug=slug, name=slug.replace("-", " ").capitalize())
