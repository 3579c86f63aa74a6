"""Personal data in what is logged."""

import importlib
import pkgutil
from typing import Annotated, Any

import pytest

import contracts
from broker.masking import MASK, masked, personal_fields
from contracts.base import Address, Email, Message, Page, Secret
from contracts.users import RegisterUser

TELLING = {"email", "password", "token", "access_token", "refresh_token", "order_token", "client_secret"}
"""Names that no field has whose value may be read."""


class Card(Message):
    holder: Annotated[Secret, "more"] | None = None
    mail: dict[str, Email] | None = None
    size: int = 0


ADDRESS = Address(name="Kim", line1="Road 1", postal_code="12345", city="Town", country="DE")
KIM = RegisterUser(email="kim@shop.example", password="correct horse", name="Kim")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (KIM, {"email": MASK, "password": MASK, "name": MASK}),
        (
            ADDRESS,
            {"name": MASK, "line1": MASK, "postal_code": MASK, "city": MASK, "country": "DE"},
        ),
        (Card(holder="Kim", mail={"home": "kim@shop.example"}, size=3), {"holder": MASK, "mail": MASK, "size": 3}),
        (Page[Card](items=(Card(size=1),)), {"items": [{"size": 1}]}),
        ({"who": [KIM]}, {"who": [{"email": MASK, "password": MASK, "name": MASK}]}),
        ({"kim@shop.example": 1}, {MASK: 1}),
        ("550 <kim.o'neill+x@mail.shop.example>: unknown", f"550 <{MASK}>: unknown"),
        ("to=kim@shop.example;", f"to={MASK};"),
        ("amqp://orders:secret@broker:5672/", "amqp://orders:secret@broker:5672/"),
        ("nobody@home", "nobody@home"),
        (7, 7),
    ],
)
def test_what_is_personal_is_masked_however_deep(said: Any, shown: Any) -> None:
    assert masked(said) == shown


def every_message() -> list[type[Message]]:
    for module in pkgutil.iter_modules(contracts.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"contracts.{module.name}")
    found, left = [], [Message]
    while left:
        kinds = left.pop().__subclasses__()
        left += kinds
        found += [kind for kind in kinds if kind.__module__.startswith("contracts.")]
    return found


def test_no_contract_has_a_field_by_such_a_name_that_is_not_marked() -> None:
    kinds = every_message()
    assert len(kinds) > 100
    assert {kind.__name__ for kind in kinds if (TELLING & set(kind.model_fields)) - personal_fields(kind)} == set()
