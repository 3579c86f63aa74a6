"""The rules that hold for every message."""

import re
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, ValidationError

from contracts.base import Event, Input, Message, Moment, Money, Operation, Page, Said
from contracts.catalog import GetProduct, ListProducts, Product, StockReserved
from contracts.orders import ListOrders, PlaceOrder
from contracts.published import messages, topic_of

KINDS = [pytest.param(kind, id=topic) for topic, kind in messages().items()]
PERSONAL = re.compile(r"email|name$|address|phone|birth|password|token", re.IGNORECASE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_topic_names_its_service_and_carries_its_version(kind: type[Message]) -> None:
    topic = topic_of(kind)
    room = kind.__module__.removeprefix("contracts.")
    version = "" if room == "presence" else r"\.v[1-9]\d*"
    assert re.fullmatch(rf"{room}\.[a-z]+(-[a-z]+)*{version}", topic)


@pytest.mark.parametrize("kind", KINDS)
def test_messages_are_frozen(kind: type[Message]) -> None:
    assert kind.model_config.get("frozen")


@pytest.mark.parametrize("kind", [param for param in KINDS if issubclass(param.values[0], Operation)])  # type: ignore[arg-type]
def test_operations_refuse_unknown_fields_at_every_depth(kind: type[Message]) -> None:
    open_parts = {part for part in parts(kind) if part.model_config.get("extra") != "forbid"}
    assert not open_parts


@pytest.mark.parametrize("kind", [param for param in KINDS if issubclass(param.values[0], Event)])  # type: ignore[arg-type]
def test_events_have_no_field_for_personal_data(kind: type[Message]) -> None:
    fields = {name for part in (kind, *parts(kind)) for name in part.model_fields}
    assert not {name for name in fields if PERSONAL.search(name)}


@pytest.mark.parametrize("kind", [param for param in KINDS if issubclass(param.values[0], Said)])  # type: ignore[arg-type]
def test_what_is_said_names_its_aggregate(kind: type[Said]) -> None:
    assert kind.subject in kind.model_fields


def test_what_is_heard_ignores_unknown_fields() -> None:
    order_id = uuid4()
    heard = StockReserved.model_validate({"order_id": str(order_id), "new_in_v1_1": True})
    assert heard == StockReserved(order_id=order_id)


def test_an_operation_knows_what_answers_it() -> None:
    assert GetProduct.reply_type() is Product
    assert ListProducts.reply_type() is Page[Product]


@pytest.mark.parametrize("quantity", ["0", "-1", "1.5", "1e12", "1000000000000", '"2"', "true", "null"])
def test_a_quantity_is_a_whole_number_from_one_to_ten_thousand(quantity: str) -> None:
    body = f'{{"items": [{{"sku": "a", "quantity": {quantity}}}], "payment_method": "pm_card_visa"}}'
    with pytest.raises(ValidationError):
        PlaceOrder.model_validate_json(body, strict=True)


@pytest.mark.parametrize("amount", [-1, 10**12 + 1, 10**30])
def test_money_has_bounds(amount: int) -> None:
    with pytest.raises(ValidationError):
        Money(amount=amount, currency="EUR")


def test_a_time_is_kept_and_written_in_utc() -> None:
    question = ListOrders.model_validate({"since": "2026-01-01T01:30:00.5+02:00"})
    assert question.model_dump(mode="json")["since"] == "2025-12-31T23:30:00.500Z"


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_is_none_in_utc_is_refused(since: str) -> None:
    with pytest.raises(ValidationError, match="too early or too late"):
        ListOrders.model_validate({"since": since})


def parts(kind: type[BaseModel]) -> set[type[BaseModel]]:
    """The models inside a model's fields."""
    found: set[type[BaseModel]] = set()

    def look(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in found:
            found.add(annotation)
            for field in annotation.model_fields.values():
                look(field.annotation)
        for argument in getattr(annotation, "__args__", ()):
            look(argument)

    for field in kind.model_fields.values():
        look(field.annotation)
    assert all(issubclass(part, Input) for part in found) or not issubclass(kind, Operation)
    return found


@pytest.mark.parametrize(
    "written", ["2026-01-31T12:00:00Z", "2026-01-31t13:30:00.0004+01:30", "2026-01-31 12:00:00-00:00"]
)
def test_a_time_is_read_as_rfc_3339_writes_it(written: str) -> None:
    assert Clock.model_validate_json(f'{{"at": "{written}"}}', strict=True).model_dump_json() == NOON
    assert Clock.model_validate_strings({"at": written}).model_dump_json() == NOON


@pytest.mark.parametrize(
    "written",
    [
        "0.5",
        "1769860800",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00Z",
        "9999-12-31T23:59:59-23:00",
        "now",
    ],
)
def test_nothing_else_is_a_time(written: str) -> None:
    with pytest.raises(ValidationError):
        Clock.model_validate_strings({"at": written})
    with pytest.raises(ValidationError):
        Clock.model_validate_json(f'{{"at": "{written}"}}', strict=True)


def test_a_number_is_no_time() -> None:
    with pytest.raises(ValidationError):
        Clock.model_validate_json('{"at": 1769860800}')


class Clock(Message):
    at: Moment


NOON = '{"at":"2026-01-31T12:00:00.000Z"}'
