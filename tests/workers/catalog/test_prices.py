"""Prices add up, and the tax in them is exact."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.base import MAX_AMOUNT, Item, Money, Refusal
from contracts.catalog import Prices
from workers.catalog.rules import ForSale, merge, named_after, price_items, tax_within
from workers.catalog.tariffs import USUAL

rates = st.sampled_from(sorted({rate for rates in USUAL.tax.values() for rate in dict(rates).values()}))
amounts = st.integers(min_value=0, max_value=MAX_AMOUNT)
items = st.lists(
    st.builds(Item, sku=st.sampled_from("ABC"), quantity=st.integers(min_value=1, max_value=10_000)),
    min_size=1,
    max_size=20,
)

SHOP = {
    "A": ForSale("Apple", Money(amount=1999, currency="EUR"), "standard"),
    "B": ForSale("Bread", Money(amount=333, currency="EUR"), "reduced"),
    "C": ForSale("Stamp", Money(amount=95, currency="EUR"), "zero"),
    "D": ForSale("Dollar", Money(amount=100, currency="USD"), "standard"),
    "E": ForSale("Estate", Money(amount=MAX_AMOUNT, currency="EUR"), "standard"),
}


def priced(*wanted: Item, shipping_method: str | None = None, country: str | None = None) -> Prices:
    prices = price_items(wanted, SHOP, USUAL, shipping_method=shipping_method, country=country)
    assert isinstance(prices, Prices)
    return prices


def refused(*wanted: Item, shipping_method: str | None = None) -> Refusal:
    refusal = price_items(wanted, SHOP, USUAL, shipping_method=shipping_method, country=None)
    assert isinstance(refusal, Refusal)
    return refusal


@given(amounts, rates)
def test_the_tax_is_what_decimals_of_any_length_give(gross: int, rate: Decimal) -> None:
    with localcontext(prec=60):
        exact = (gross * rate / (1 + rate)).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    assert tax_within(gross, rate) == exact


@pytest.mark.parametrize(
    ("gross", "rate", "tax"),
    [(119, "0.19", 19), (1999, "0.19", 319), (3, "0.20", 1), (1, "0.20", 0), (107, "0.07", 7), (1999, "0", 0)],
)
def test_the_tax_of_known_amounts(gross: int, rate: str, tax: int) -> None:
    assert tax_within(gross, Decimal(rate)) == tax


@given(items, st.sampled_from([None, "standard", "express"]), st.sampled_from([None, "DE", "FR", "US"]))
def test_lines_and_total_add_up(wanted: list[Item], shipping_method: str | None, country: str | None) -> None:
    prices = priced(*wanted, shipping_method=shipping_method, country=country)
    for line in prices.lines:
        assert line.net.amount + line.tax.amount == line.gross.amount
    assert sum(line.gross.amount for line in prices.lines) == prices.total.amount
    assert {line.sku: line.quantity for line in prices.lines if line.kind == "item"} == merge(wanted)


def test_the_same_sku_twice_is_one_line() -> None:
    lines = priced(Item(sku="A", quantity=2), Item(sku="B", quantity=1), Item(sku="A", quantity=3)).lines
    assert [(line.sku, line.quantity) for line in lines] == [("A", 5), ("B", 1)]


def test_shipping_is_a_line_with_the_standard_rate() -> None:
    *_, line = priced(Item(sku="B", quantity=1), shipping_method="standard").lines
    assert (line.kind, line.sku, line.gross.amount, line.tax_rate) == ("shipping", None, 490, Decimal("0.19"))


def test_nothing_is_shipped_unasked() -> None:
    assert [line.kind for line in priced(Item(sku="A", quantity=1)).lines] == ["item"]


def test_an_unlisted_country_pays_the_rates_of_the_shop() -> None:
    assert USUAL.rate("US", "reduced") == USUAL.rate(None, "reduced") == USUAL.rate("DE", "reduced")


def test_a_rate_is_written_as_a_fraction() -> None:
    assert '"tax_rate":"0.19"' in priced(Item(sku="A", quantity=1)).model_dump_json()


def test_every_unknown_sku_is_pointed_at() -> None:
    refusal = refused(Item(sku="X", quantity=1), Item(sku="A", quantity=1), Item(sku="Y", quantity=1))
    assert refusal.slug == "unknown-sku"
    assert [error.pointer for error in refusal.errors] == ["/items/0/sku", "/items/2/sku"]


def test_currencies_do_not_mix() -> None:
    assert refused(Item(sku="A", quantity=1), Item(sku="D", quantity=1)).slug == "mixed-currencies"


def test_an_unknown_shipping_method_is_refused() -> None:
    refusal = refused(Item(sku="A", quantity=1), shipping_method="pigeon")
    assert (refusal.slug, refusal.errors[0].pointer) == ("unknown-shipping-method", "/shipping_method")


def test_a_total_beyond_every_amount_is_refused() -> None:
    assert refused(Item(sku="E", quantity=2)).slug == "invalid-request"


def test_a_category_without_a_name_is_named_after_its_slug() -> None:
    assert named_after("green-tea").name == "Green tea"
