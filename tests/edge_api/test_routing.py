"""Which path leads to whom."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from broker.registry import ServiceRecord
from contracts.presence import Manifest, Offer
from edge_api.problems import RefusedError
from edge_api.routing import Table
from tests.edge_api.world import offer


def table(*offers: Offer) -> Table:
    record = ServiceRecord("shop", "shop", Manifest(service="shop", version="1"), offers, datetime.now(UTC))
    return Table(((record, one) for one in offers), is_reserved=lambda path: path == "/healthz")


def topic(of: Table, method: str, path: bytes) -> str:
    return of.find(method, path)[0].offer.topic


THINGS = table(
    offer("shop.get.v1", "GET", "/things/{id}"),
    offer("shop.best.v1", "GET", "/things/best"),
    offer("shop.parts.v1", "GET", "/things/{id}/parts/{part}"),
    offer("shop.add.v1", "POST", "/things"),
)


def test_a_static_segment_beats_a_parameter() -> None:
    assert topic(THINGS, "GET", b"/things/best") == "shop.best.v1"
    assert topic(THINGS, "GET", b"/things/worst") == "shop.get.v1"


def test_a_static_segment_that_leads_nowhere_gives_way_to_a_parameter() -> None:
    target, parameters = THINGS.find("GET", b"/things/best/parts/7")
    assert target.offer.topic == "shop.parts.v1"
    assert parameters == {"id": "best", "part": "7"}


def test_parameters_are_decoded_after_the_path_is_split() -> None:
    assert THINGS.find("GET", b"/things/a%2Fb%20%C3%A9")[1] == {"id": "a/b é"}


@pytest.mark.parametrize("path", [b"/", b"", b"/things/", b"/things//parts/1", b"/things/1/", b"//things", b"/thing"])
def test_what_is_not_there_is_refused(path: bytes) -> None:
    with pytest.raises(RefusedError, match="no-such-route"):
        THINGS.find("GET", path)


def test_another_method_is_refused_with_those_that_are_allowed() -> None:
    with pytest.raises(RefusedError, match="method-not-allowed") as refused:
        THINGS.find("DELETE", b"/things/best")
    assert refused.value.headers == ((b"allow", b"GET, HEAD, OPTIONS"),)


def test_head_is_served_like_get() -> None:
    assert topic(THINGS, "HEAD", b"/things/best") == "shop.best.v1"


@pytest.mark.parametrize("path", [b"/things/%ff", b"/things/\xff", b"/%c3%28"])
def test_what_is_not_utf8_is_refused(path: bytes) -> None:
    with pytest.raises(RefusedError, match="malformed-url"):
        THINGS.find("GET", path)


def test_parameters_may_have_different_names_in_different_routes() -> None:
    routes = table(offer("shop.a.v1", "GET", "/a/{id}"), offer("shop.b.v1", "GET", "/a/{sku}/b"))
    assert routes.find("GET", b"/a/1/b")[1] == {"sku": "1"}
    assert routes.find("GET", b"/a/1")[1] == {"id": "1"}


def test_what_the_platform_serves_is_not_given_away() -> None:
    routes = table(offer("shop.health.v1", "GET", "/healthz"))
    assert routes.refused == [("shop", "GET /healthz", "the path is held by the platform")]
    with pytest.raises(RefusedError, match="no-such-route"):
        routes.find("GET", b"/healthz")


def test_the_second_claim_to_a_route_is_refused() -> None:
    routes = table(offer("shop.one.v1", "GET", "/a/{x}"), offer("shop.two.v1", "GET", "/a/{y}"))
    assert topic(routes, "GET", b"/a/1") == "shop.one.v1"
    assert routes.refused == [("shop", "GET /a/{y}", "the path is claimed twice")]


def test_a_look_up_does_not_slow_down_with_the_number_of_routes() -> None:
    def many() -> Iterator[Offer]:
        for number in range(5000):
            yield offer(f"shop.op{number}.v1", "GET", f"/many/{number}/{{id}}")

    small, large = table(offer("shop.op.v1", "GET", "/many/4999/{id}")), table(*many())
    # Loose: a look-up that walked 5,000 routes would be hundreds of times slower.
    assert best_time(large) < 10 * best_time(small)


def best_time(of: Table) -> float:
    def once() -> float:
        started = time.perf_counter()
        for _ in range(200):
            of.find("GET", b"/many/4999/1")
        return time.perf_counter() - started

    return min(once() for _ in range(10))
