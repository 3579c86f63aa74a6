"""Products and categories are kept, changed, listed and found."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.base import Caller, Money
from contracts.catalog import (
    AddProduct,
    ChangeProduct,
    GetProduct,
    ListCategories,
    ListProducts,
    ProductAdded,
    ProductChanged,
    PutCategory,
)
from tests.workers.catalog.shop import EUR, Shop

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


async def found(shop: Shop, **question: Any) -> list[str]:
    page = await shop.ask(ListProducts(**question), caller=Caller())
    return [product.sku for product in page.items]


async def test_a_product_needs_only_the_fields_of_the_public_page(shop: Shop) -> None:
    ask = AddProduct(sku="TEA-NEW", name="Green tea", category="hot-drinks", price=EUR, on_hand=3)
    added = await shop.ask(ask)
    assert added == await shop.ask(GetProduct(sku="TEA-NEW"), caller=Caller())
    assert (added.available, added.archived, added.tax_class, added.description) == (3, False, "standard", "")
    assert (await shop.heard(ProductAdded, "TEA-NEW")).price == EUR
    categories = await shop.ask(ListCategories(), caller=Caller())
    assert [(category.slug, category.name) for category in categories.items] == [("hot-drinks", "Hot drinks")]


async def test_every_field_of_a_product_is_kept(shop: Shop) -> None:
    fields: dict[str, Any] = {"description": "Ünïcode 🌿", "tax_class": "reduced", "weight_grams": 250}
    fields |= {"attributes": {"colour": "green"}, "images": ("https://images.test/1.png",), "archived": True}
    added = await shop.sells("TEA-1", **fields)
    assert {name: getattr(added, name) for name in fields} == fields


async def test_a_taken_sku_is_refused(shop: Shop) -> None:
    await shop.sells("TEA-1", name="The first")
    refusal = await shop.refused(AddProduct(sku="TEA-1", name="The second", category="new", price=EUR, on_hand=1))
    assert (refusal.slug, refusal.status) == ("sku-taken", 409)
    assert (await shop.ask(GetProduct(sku="TEA-1"))).name == "The first"
    assert [category.slug for category in (await shop.ask(ListCategories())).items] == ["things"]


async def test_there_is_no_such_product(shop: Shop) -> None:
    assert (await shop.refused(GetProduct(sku="NONE"))).slug == "no-such-product"
    assert (await shop.refused(ChangeProduct(sku="NONE", name="Something", category="new"))).slug == "no-such-product"
    assert (await shop.refused(ChangeProduct(sku="NONE"))).slug == "no-such-product"


async def test_what_is_left_out_of_a_change_stays(shop: Shop) -> None:
    before = await shop.sells("TEA-CHANGED", description="Fresh", attributes={"colour": "green"})
    price = Money(amount=5, currency="USD")
    after = await shop.ask(ChangeProduct(sku="TEA-CHANGED", price=price, category="sale", attributes={}))
    assert after == before.model_copy(
        update={"price": price, "category": "sale", "attributes": {}, "updated_at": after.updated_at}
    )
    assert after.updated_at >= before.updated_at
    assert await shop.heard(ProductChanged, "TEA-CHANGED") == ProductChanged(
        sku="TEA-CHANGED", price=price, archived=False
    )


async def test_an_archived_product_is_not_listed_but_can_be_looked_at(shop: Shop) -> None:
    await shop.sells("TEA-1")
    await shop.sells("TEA-2")
    await shop.ask(ChangeProduct(sku="TEA-1", archived=True))
    assert await found(shop) == ["TEA-2"]
    assert await found(shop, q="product") == ["TEA-2"]
    assert (await shop.ask(GetProduct(sku="TEA-1"))).archived
    await shop.ask(ChangeProduct(sku="TEA-1", archived=False))
    assert await found(shop) == ["TEA-1", "TEA-2"]


async def test_pages_hold_every_product_once_whatever_is_added_meanwhile(shop: Shop) -> None:
    for n in (1, 2, 4, 5, 6):
        await shop.sells(f"P{n}")
    first = await shop.ask(ListProducts(limit=2))
    await shop.sells("P0")
    await shop.sells("P3")
    second = await shop.ask(ListProducts(limit=2, cursor=first.next))
    third = await shop.ask(ListProducts(limit=2, cursor=second.next))
    assert [[product.sku for product in page.items] for page in (first, second, third)] == [
        ["P1", "P2"],
        ["P3", "P4"],
        ["P5", "P6"],
    ]
    assert third.next is None


async def test_a_bad_cursor_is_refused(shop: Shop) -> None:
    for cursor in ("", "rubbish", "cHJvZHVjdHM6", "=", "💥"):
        for refusal in (
            await shop.refused(ListProducts(cursor=cursor)),
            await shop.refused(ListCategories(cursor=cursor)),
        ):
            assert (refusal.slug, refusal.errors[0].pointer) == ("invalid-request", "/cursor")


async def test_a_search_finds_all_words_and_the_beginning_of_the_last(shop: Shop) -> None:
    await shop.sells("A", name="Green tea", description="From the hills/valleys of Assam", category="tea")
    await shop.sells("B", name="Black tea", category="tea")
    await shop.sells("C", name="Ärmel-Teapot (green)", category="pots")
    await shop.sells("USB-C.2", name="Cable")
    assert await found(shop, q="TEA") == ["A", "B", "C"]
    assert await found(shop, q="green tea") == ["A", "C"]
    assert await found(shop, q="tea gre") == ["A"]
    assert await found(shop, q="gre tea") == []
    assert await found(shop, q="green", category="pots") == ["C"]
    assert await found(shop, category="tea") == ["A", "B"]
    assert await found(shop, q="valley") == ["A"]
    assert await found(shop, q="ärmel") == ["C"]
    assert await found(shop, q="usb-c") == ["USB-C.2"]
    assert await found(shop, category="none-such") == []


async def test_a_search_without_words_lists_everything(shop: Shop) -> None:
    await shop.sells("A")
    assert await found(shop, q=" ") == await found(shop, q="'!") == ["A"]


async def test_a_changed_name_is_found_by_its_new_words(shop: Shop) -> None:
    await shop.sells("A", name="Old")
    await shop.ask(ChangeProduct(sku="A", name="New"))
    assert (await found(shop, q="new"), await found(shop, q="old")) == (["A"], [])


async def test_a_category_is_made_and_renamed_and_not_renamed_back(shop: Shop) -> None:
    await shop.ask(PutCategory(slug="green-tea", name="Teas"))
    await shop.ask(PutCategory(slug="green-tea", name="Fine teas"))
    await shop.sells("A", category="green-tea")
    page = await shop.ask(ListCategories(limit=1))
    assert ([category.name for category in page.items], page.next) == (["Fine teas"], None)


async def test_categories_come_in_pages(shop: Shop) -> None:
    for slug in ("b", "a", "c"):
        await shop.ask(PutCategory(slug=slug, name=slug))
    first = await shop.ask(ListCategories(limit=2))
    second = await shop.ask(ListCategories(limit=2, cursor=first.next))
    assert [category.slug for category in first.items + second.items] == ["a", "b", "c"]
    assert second.next is None


typed = st.text(
    alphabet=st.one_of(st.sampled_from("'\\&|!():*<-> \t"), st.characters(codec="utf-8", exclude_characters="\0")),
    max_size=200,
)


async def test_no_search_breaks_the_database(shop: Shop) -> None:
    await shop.sells("A")
    searches = ["a' | b", "\\'", ":*", "a:*b", "<->", "''", "x" * 200, "²", "🌿", "\u0301"]

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
    @given(typed)
    def draw(words: str) -> None:
        searches.append(words)

    draw()
    for words in searches:
        await shop.ask(ListProducts(q=words))
