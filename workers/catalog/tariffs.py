"""What the shop's owner decides about prices: tax rates by country, and what it costs to send an order.

Read from a TOML file that HEDGEROW_TARIFFS names; without one, a German shop's:

    home_country = "DE"             # whose rates apply where a country is not given or not listed

    [tax.DE]                        # fractions: 0.19 is 19 %
    standard = "0.19"
    reduced = "0.07"

    [shipping.standard]
    name = "Standard shipping"
    amount = 490                    # gross, in minor units of the order's currency
"""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contracts.base import MAX_AMOUNT, Name, Slug
from contracts.catalog import Country, TaxClass

SETTING = "HEDGEROW_TARIFFS"
Rate = Annotated[Decimal, Field(ge=0, le=1, decimal_places=4)]


class Tariff(BaseModel):
    """A part of the file: what is misspelt is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Rates(Tariff):
    """A country's rates, as fractions."""

    standard: Rate
    reduced: Rate
    zero: Rate = Decimal(0)


class ShippingMethod(Tariff):
    """A way to send an order; `amount` is gross, in minor units of the order's currency."""

    name: Name
    amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT)]


class Tariffs(Tariff):
    """All of it."""

    home_country: Country
    tax: dict[Country, Rates]
    shipping: dict[Slug, ShippingMethod] = {}

    @model_validator(mode="after")
    def _is_at_home(self) -> Self:
        if self.home_country not in self.tax:
            raise ValueError(f"[tax.{self.home_country}] is missing: it is the home country")
        return self

    def rate(self, country: str | None, tax_class: TaxClass) -> Decimal:
        """The rate as a fraction: 0.19 is 19 %."""
        rates = self.tax.get(country or self.home_country, self.tax[self.home_country])
        return Decimal(getattr(rates, tax_class))


USUAL = Tariffs(
    home_country="DE",
    tax={
        country: Rates(standard=Decimal(standard), reduced=Decimal(reduced))
        for country, standard, reduced in [
            ("AT", "0.20", "0.10"),
            ("BE", "0.21", "0.06"),
            ("DE", "0.19", "0.07"),
            ("ES", "0.21", "0.10"),
            ("FR", "0.20", "0.055"),
            ("IT", "0.22", "0.10"),
            ("LU", "0.17", "0.08"),
            ("NL", "0.21", "0.09"),
            ("PL", "0.23", "0.08"),
        ]
    },
    shipping={
        "standard": ShippingMethod(name="Standard shipping", amount=490),
        "express": ShippingMethod(name="Express shipping", amount=990),
    },
)


def read(path: Path) -> Tariffs:
    """The tariffs in a file. Raises ValueError with a sentence that says what is wrong."""
    try:
        return Tariffs.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{SETTING}: {path} can't be read: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{SETTING}: {path}: {place}: {first['msg']}") from error
