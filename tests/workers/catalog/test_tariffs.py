"""The file in which the shop's owner says what tax and shipping cost."""

from decimal import Decimal
from pathlib import Path

import pytest

from contracts.base import Item, Money
from contracts.catalog import Prices
from workers.catalog.rules import ForSale, price_items
from workers.catalog.tariffs import Tariffs, read

SWISS = """
home_country = "CH"
[tax.CH]
standard = "0.081"
reduced = "0.026"
[shipping.post]
name = "Post"
amount = 900
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "tariffs.toml"
    path.write_text(text)
    return path


def test_prices_follow_the_file(tmp_path: Path) -> None:
    tariffs = read(written(tmp_path, SWISS))
    shop = {"A": ForSale("Apple", Money(amount=1081, currency="CHF"), "standard")}
    prices = price_items([Item(sku="A", quantity=1)], shop, tariffs, shipping_method="post", country="DE")
    assert isinstance(prices, Prices)
    assert [(line.gross.amount, line.tax.amount, line.tax_rate) for line in prices.lines] == [
        (1081, 81, Decimal("0.081")),
        (900, 67, Decimal("0.081")),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("home_country = ", "can't be read"),
        (SWISS.replace('"CH"', '"DE"'), "[tax.DE] is missing"),
        (SWISS.replace("standard =", "normal ="), "tax.CH.standard"),
        (SWISS.replace('"0.081"', '"8.1"'), "tax.CH.standard"),
        (SWISS.replace("900", "-1"), "shipping.post.amount"),
        (SWISS + "colour = 1", "shipping.post.colour"),
    ],
)
def test_what_is_wrong_in_it_is_said_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match="HEDGEROW_TARIFFS") as refused:
        read(written(tmp_path, text))
    assert said in str(refused.value)


def test_a_file_that_is_not_there_is_said_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can't be read"):
        read(tmp_path / "none.toml")


def test_every_tax_class_has_a_rate() -> None:
    tariffs = Tariffs.model_validate({"home_country": "CH", "tax": {"CH": {"standard": "0.1", "reduced": "0.1"}}})
    assert tariffs.rate("CH", "zero") == 0
