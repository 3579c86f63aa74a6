"""Prices are told, and quotes are kept for half an hour."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlmodel import col

from contracts.base import Caller, Item, Money
from contracts.catalog import ChangeProduct, GetQuote, MakeQuote, PriceItems, Prices, Quote
from tests.workers.catalog.shop import Shop
from workers.catalog.tables import QuoteRow

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

TWO = (Item(sku="A", quantity=2),)


async def test_a_quote_holds_its_prices_while_the_product_changes(shop: Shop) -> None:
    await shop.sells("A")
    quote = await shop.ask(MakeQuote(items=TWO, shipping_method="standard", country="FR"), caller=Caller())
    await shop.ask(ChangeProduct(sku="A", price=Money(amount=1, currency="EUR")))
    kept = await shop.ask(GetQuote(id=quote.id))
    assert isinstance(kept, Quote)
    assert (kept.lines, kept.total, kept.total.amount) == (quote.lines, quote.total, 2 * 1999 + 490)
    assert timedelta(minutes=29) < kept.expires_at - datetime.now(UTC) <= timedelta(minutes=30)
    assert (await shop.ask(PriceItems(items=TWO))).total.amount == 2


async def test_prices_and_quotes_agree(shop: Shop) -> None:
    await shop.sells("A", tax_class="reduced")
    quote = await shop.ask(MakeQuote(items=TWO, country="AT"))
    prices = await shop.ask(PriceItems(items=TWO, country="AT"))
    assert isinstance(prices, Prices)
    assert (quote.lines, quote.total) == (prices.lines, prices.total)


async def test_an_expired_quote_says_so_and_is_forgotten_later(shop: Shop) -> None:
    await shop.sells("A")
    quote = await shop.ask(MakeQuote(items=TWO))
    await expire(shop, quote, ago=timedelta(seconds=1))
    assert (await shop.refused(GetQuote(id=quote.id))).slug == "quote-expired"
    await expire(shop, quote, ago=timedelta(days=2))
    await shop.ask(MakeQuote(items=TWO))
    assert (await shop.refused(GetQuote(id=quote.id))).slug == "no-such-quote"


async def test_there_is_no_such_quote(shop: Shop) -> None:
    assert (await shop.refused(GetQuote(id=uuid4()))).slug == "no-such-quote"


async def test_archived_and_unknown_products_are_not_priced(shop: Shop) -> None:
    await shop.sells("A")
    await shop.sells("B", archived=True)
    items = (*TWO, Item(sku="B", quantity=1), Item(sku="a", quantity=1))
    for refusal in (await shop.refused(PriceItems(items=items)), await shop.refused(MakeQuote(items=items))):
        assert (refusal.slug, refusal.status) == ("unknown-sku", 422)
        assert [error.pointer for error in refusal.errors] == ["/items/1/sku", "/items/2/sku"]


async def test_currencies_do_not_mix(shop: Shop) -> None:
    await shop.sells("A")
    await shop.sells("B", price=Money(amount=1, currency="USD"))
    assert (await shop.refused(MakeQuote(items=(*TWO, Item(sku="B", quantity=1))))).slug == "mixed-currencies"


async def expire(shop: Shop, quote: Quote, *, ago: timedelta) -> None:
    row = update(QuoteRow).where(col(QuoteRow.id) == quote.id)
    await shop.write(row.values(expires_at=datetime.now(UTC) - ago))
