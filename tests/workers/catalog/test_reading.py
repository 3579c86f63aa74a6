"""What the database writes as JSON is what the contract would write."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from broker.outbox import Origin
from broker.transaction import Transaction
from contracts.base import MAX_AMOUNT, Page
from contracts.catalog import AddProduct, GetProduct, ListProducts, Product
from tests.workers.catalog.shop import Shop
from workers.catalog import reading, store
from workers.catalog.listing import cursor
from workers.catalog.rules import named_after

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
FAR_AWAY = (
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kathmandu''', current_database()); END $$"
)
Written = tuple[AddProduct, datetime]

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50)
moments = st.datetimes(
    datetime(1000, 1, 2), datetime(9999, 12, 30), timezones=st.sampled_from([UTC, timezone(timedelta(hours=5.75))])
)
products: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    name=words.filter(str.strip),
    description=words,
    price=st.fixed_dictionaries(
        {"amount": st.sampled_from([0, 1, 2**31, MAX_AMOUNT]), "currency": st.sampled_from(["EUR", "JPY"])}
    ),
    on_hand=st.sampled_from([0, 1, 10**9]),
    tax_class=st.sampled_from(["standard", "reduced", "zero"]),
    weight_grams=st.sampled_from([0, 10**9]),
    attributes=st.dictionaries(words.filter(bool), words, max_size=3),
    images=st.lists(words, max_size=3),
    archived=st.booleans(),
)
EXTREMES: list[tuple[dict[str, Any], datetime]] = [
    ({}, datetime(2026, 1, 1, tzinfo=UTC)),
    ({"description": "\t\n\r\b\f\x01\x1f\x7f\"\\/'\u2028🌿"}, datetime(2026, 1, 1, 23, 59, 59, 999999, tzinfo=UTC)),
    (
        {"attributes": {'"': "\\", "ü": ""}, "images": ["", "x" * 2000]},
        datetime(2026, 3, 29, 1, 30, 0, 1999, tzinfo=UTC),
    ),
]


def drawn() -> list[Written]:
    """Products of all kinds, and when they were changed."""
    found = list(EXTREMES)

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
    @given(products, moments)
    def draw(fields: dict[str, Any], moment: datetime) -> None:
        found.append((fields, moment))

    draw()
    least = {"name": "x", "category": "things", "price": {"amount": 1, "currency": "EUR"}, "on_hand": 1}
    return [
        (AddProduct.model_validate(least | {"sku": f"P{n}"} | fields), moment)
        for n, (fields, moment) in enumerate(found)
    ]


async def test_the_database_writes_a_product_as_the_contract_does(shop: Shop) -> None:
    everything = drawn()

    async def add(tx: Transaction) -> None:
        await tx.session.execute(text(FAR_AWAY))
        await store.ensure_category(tx.session, named_after("things"))
        for ask, moment in everything:
            await store.add_product(tx.session, ask, moment)

    await shop.database.transact(Origin("test"), add)
    async with shop.session() as session:
        typed = [await store.product(session, ask.sku) for ask, _ in everything]
    for product in typed:
        assert product is not None
        written = await reading.product(shop.database.reader, product.sku)
        assert written is not None
        assert json.loads(written) == product.model_dump(mode="json")


async def test_the_database_writes_the_fields_of_the_contract_in_their_order(shop: Shop) -> None:
    await shop.sells("TEA-1")
    written = await reading.product(shop.database.reader, "TEA-1")
    assert written is not None
    assert list(json.loads(written)) == list(Product.model_fields)


async def test_a_page_of_products_is_written_as_the_contract_does(shop: Shop) -> None:
    products = [await shop.sells(f"P{n}") for n in range(3)]
    for limit, following in (2, cursor("products", "P1")), (3, None):
        expected = Page[Product](items=tuple(products[:limit]), next=following)
        assert json.loads(await shop.says(ListProducts(limit=limit))) == expected.model_dump(mode="json")
    assert json.loads(await shop.says(ListProducts(q="none"))) == {"items": [], "next": None}


async def test_a_product_is_read_while_others_hold_it(shop: Shop) -> None:
    await shop.sells("TEA-1")
    async with shop.session() as session:
        await session.execute(text("SELECT * FROM products, stock FOR UPDATE"))
        assert (await shop.ask(GetProduct(sku="TEA-1"))).sku == "TEA-1"
