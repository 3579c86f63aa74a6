"""What a composition declares, and the mistakes that are found while it does."""

from typing import ClassVar

import pytest
from pydantic import ValidationError

from broker.composing import part
from broker.service import Http, Service
from broker.topology import consumed_queues
from contracts.base import Operation, Query
from contracts.presence import MAX_PARTS, Part, Route


class ShowThing(Query[str]):
    topic: ClassVar[str] = "things.show-thing.v1"
    id: str
    limit: int = 20


class CountThings(Query[int]):
    topic: ClassVar[str] = "numbers.count-things.v1"


class EndThing(Operation[None]):
    topic: ClassVar[str] = "things.end-thing.v1"


PAGE = Http("GET", "/things/{id}/page", query=("limit",), who="anyone")


def test_a_part_is_given_fields_and_takes_others_from_the_address() -> None:
    service = Service("things", version="1")
    service.composes(
        "things.get-page.v1",
        http=PAGE,
        summary="All about a thing.",
        thing=part(ShowThing),
        best=part(ShowThing, id="best", limit=3),
        count=part(CountThings),
    )
    (offer,) = service.manifest().offers
    assert (offer.topic, offer.kind, offer.http, offer.summary) == (
        "things.get-page.v1",
        "query",
        PAGE,
        "All about a thing.",
    )
    assert offer.parts == (
        Part(name="thing", topic=ShowThing.topic, takes=("id", "limit")),
        Part(name="best", topic=ShowThing.topic, given={"id": "best", "limit": "3"}),
        Part(name="count", topic=CountThings.topic),
    )


def test_a_service_of_compositions_only_has_no_request_queue() -> None:
    service = Service("pages", version="1")
    service.composes("pages.get-count.v1", http=Http("GET", "/counts"), summary="", count=part(CountThings))
    assert consumed_queues(service.manifest()) == []


def test_only_a_query_can_be_a_part() -> None:
    with pytest.raises(TypeError, match="EndThing is no query"):
        part(EndThing)  # type: ignore[arg-type]


def test_a_field_that_is_given_must_be_there_and_fit() -> None:
    with pytest.raises(ValueError, match="ShowThing has no field colour"):
        part(ShowThing, colour="red")
    with pytest.raises(ValidationError):
        part(ShowThing, limit="many")


@pytest.mark.parametrize(
    ("http", "wrong"),
    [
        (Http("GET", "/things/page"), "nobody gives thing the field id of ShowThing"),
        (Http("GET", "/things/{id}/page", query=("colour",)), "no part has a field colour"),
        (Http("POST", "/things/{id}/page"), "a composition is a plain GET"),
        (Http("GET", "/things/{id}/page", status=201), "a composition is a plain GET"),
        (Http("GET", "/things/{id}/page", headers={"X-Id": "id"}), "a composition is a plain GET"),
    ],
)
def test_an_address_must_fit_the_parts(http: Route, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Service("things").composes("things.get-page.v1", http=http, summary="", thing=part(ShowThing))


def test_there_are_some_parts_and_not_too_many() -> None:
    count = part(CountThings)
    for parts in ({}, {"problems": count}, {f"count{number}": count for number in range(MAX_PARTS + 1)}):
        with pytest.raises(ValueError, match="1 to 10 parts"):
            Service("things").composes("things.get-page.v1", http=Http("GET", "/page"), summary="", **parts)


def test_a_composition_belongs_to_its_service() -> None:
    with pytest.raises(ValueError, match="belongs to another service"):
        Service("others").composes("things.get-page.v1", http=PAGE, summary="", thing=part(ShowThing))
