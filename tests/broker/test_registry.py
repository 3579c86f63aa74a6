"""Who may claim what, and who is there: bookkeeping without a broker."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.registry import LATE_AFTER, LOST_AFTER, Registry, overlap
from contracts.presence import Beat, Bye, Hello, Manifest, Offer, Route

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def registry() -> Registry:
    return Registry(trusted_logins=frozenset({"edge"}))


def offer(topic: str, path: str | None = None, method: str = "GET") -> Offer:
    route = None if path is None else Route.model_validate({"method": method, "path": path})
    return Offer(topic=topic, kind="query", http=route, request={}, reply={})


def manifest(service: str, *offers: Offer, version: str = "1") -> Manifest:
    return Manifest(service=service, version=version, offers=offers)


def hello(of: Manifest, *, minute: int = 0, instance: UUID | None = None) -> Hello:
    return Hello(instance=instance or uuid4(), manifest=of, started_at=NOON + timedelta(minutes=minute))


def topics(registry: Registry) -> set[str]:
    return {offer.topic for _, offer in registry.offers()}


def claims(registry: Registry) -> list[tuple[str, str]]:
    return [(refused.service, refused.claim) for refused in registry.refused]


PRODUCTS = manifest("catalog", offer("catalog.get-product.v1", "/products/{sku}"))


def test_a_service_that_says_hello_is_known_with_what_it_offers(registry: Registry) -> None:
    assert registry.hello(hello(PRODUCTS), login="catalog", now=0)
    assert topics(registry) == {"catalog.get-product.v1"}
    assert not registry.services["catalog"].is_away


@pytest.mark.parametrize("login", ["catalog", "catalog@shop", "catalog:/products@shop", "edge"])
def test_for_a_service_speak_its_logins_and_trusted_ones(registry: Registry, login: str) -> None:
    assert registry.hello(hello(PRODUCTS), login=login, now=0)


@pytest.mark.parametrize(
    "login", ["orders", "catalogue", "catalog2@shop", "shop@catalog", "shop:/catalog", "", "@catalog", ":catalog"]
)
def test_a_login_of_another_service_is_refused_and_listed_once(registry: Registry, login: str) -> None:
    for _ in range(3):
        assert not registry.hello(hello(PRODUCTS), login=login, now=0)
    assert not registry.services
    assert [(refused.login, refused.claim) for refused in registry.refused] == [(login, "the service catalog")]


def test_another_services_operation_is_refused_and_listed_once(registry: Registry) -> None:
    greedy = manifest("cat", offer("catalog.get-product.v1", "/mine"), offer("cat.purr.v1", "/purrs"))
    for minute in range(3):
        registry.hello(hello(greedy, minute=minute), login="cat", now=0)
    assert topics(registry) == {"cat.purr.v1"}
    assert claims(registry) == [("cat", "catalog.get-product.v1")]


def test_a_path_that_would_take_everybodys_is_refused(registry: Registry) -> None:
    registry.hello(hello(manifest("greedy", offer("greedy.take.v1", "/{anything}"))), login="greedy", now=0)
    assert topics(registry) == set()
    assert claims(registry) == [("greedy", "GET /{anything}")]


@pytest.mark.parametrize(
    "path", ["/products/{sku}", "/products/{id}", "/products/new", "/{anything}/x", "/products/x/"]
)
def test_a_path_that_another_service_holds_is_refused_and_listed_once(registry: Registry, path: str) -> None:
    registry.hello(hello(PRODUCTS), login="catalog", now=0)
    for minute in range(3):
        registry.hello(hello(manifest("plug", offer("plug.x.v1", path)), minute=minute), login="plug", now=0)
    assert topics(registry) == {"catalog.get-product.v1"}
    assert claims(registry) == [("plug", f"GET {path}")]


@pytest.mark.parametrize("path", ["/points", "/points/{id}", "/points/of/{id}", "/rewards/"])
def test_a_login_with_prefixes_claims_what_is_below_them(registry: Registry, path: str) -> None:
    plug = hello(manifest("plug", offer("plug.x.v1", path)))
    assert registry.hello(plug, login="plug:/points,/rewards@shop", now=0)
    assert (topics(registry), claims(registry)) == ({"plug.x.v1"}, [])


@pytest.mark.parametrize(
    ("login", "path"),
    [
        ("plug:/points", "/pointsmith"),
        ("plug:/points", "/rewards/points"),
        ("plug:/points/of", "/points"),
        ("plug:/points/of", "/points/{id}"),
        ("plug:", "/plug"),
        ("plug:@shop", "/plug"),
    ],
)
def test_a_login_with_prefixes_claims_nothing_else_and_that_is_listed(
    registry: Registry, login: str, path: str
) -> None:
    claimed = manifest("plug", offer("plug.x.v1", path), offer("plug.y.v1"))
    registry.hello(hello(claimed), login=login, now=0)
    assert (topics(registry), claims(registry)) == ({"plug.y.v1"}, [("plug", f"GET {path}")])
    assert registry.refused[0].reason.startswith("the path is not granted by its login")


def test_what_was_claimed_with_another_login_is_looked_at_anew(registry: Registry) -> None:
    same = manifest("plug", offer("plug.x.v1", "/anything"))
    registry.hello(hello(same), login="plug", now=0)
    registry.hello(hello(same, minute=1), login="plug:/points", now=1)
    assert topics(registry) == set()
    registry.hello(hello(same, minute=2), login="plug:/anything", now=2)
    assert topics(registry) == {"plug.x.v1"}


def test_a_held_path_stays_held_while_its_service_is_away(registry: Registry) -> None:
    said = hello(PRODUCTS)
    registry.hello(said, login="catalog", now=0)
    registry.bye(Bye(instance=said.instance, service="catalog"), login="catalog")
    registry.hello(hello(manifest("plug", offer("plug.x.v1", "/products/{sku}"))), login="plug", now=0)
    assert registry.services["catalog"].is_away
    assert topics(registry) == {"catalog.get-product.v1"}


def test_a_path_that_is_given_up_goes_to_whoever_wanted_it(registry: Registry) -> None:
    registry.hello(hello(PRODUCTS), login="catalog", now=0)
    registry.hello(hello(manifest("plug", offer("plug.x.v1", "/products/{sku}"))), login="plug", now=0)
    registry.hello(hello(manifest("catalog", version="2"), minute=1), login="catalog", now=0)
    assert topics(registry) == {"plug.x.v1"}


def test_whoever_holds_a_path_keeps_it_when_another_comes_first_with_a_new_manifest(registry: Registry) -> None:
    registry.hello(hello(manifest("plug")), login="plug", now=0)
    registry.hello(hello(PRODUCTS), login="catalog", now=0)
    registry.hello(hello(manifest("plug", offer("plug.x.v1", "/products/{sku}")), minute=1), login="plug", now=0)
    assert topics(registry) == {"catalog.get-product.v1"}


def test_the_generation_changes_with_the_offers_and_only_then(registry: Registry) -> None:
    said = hello(PRODUCTS)
    registry.hello(said, login="catalog", now=0)
    before = registry.generation
    registry.hello(hello(PRODUCTS, minute=5), login="catalog", now=1)
    registry.bye(Bye(instance=said.instance, service="catalog"), login="catalog")
    assert registry.generation == before
    registry.hello(hello(manifest("catalog", version="2"), minute=6), login="catalog", now=2)
    assert registry.generation > before


@given(st.lists(st.tuples(st.sampled_from("1234"), st.integers(0, 5)), min_size=1, max_size=8))
def test_the_newest_manifest_wins_in_whatever_order_they_come(said: list[tuple[str, int]]) -> None:
    hellos = [hello(manifest("catalog", version=version), minute=minute) for version, minute in said]
    versions = []
    for order in (hellos, sorted(hellos, key=lambda it: it.instance)):
        registry = Registry(trusted_logins=frozenset())
        for one in order:
            registry.hello(one, login="catalog", now=0)
        versions.append(registry.services["catalog"].manifest.version)
        newest = max(minute for _, minute in said)
        assert registry.services["catalog"].newest == NOON + timedelta(minutes=newest)
        assert versions[-1] in {version for version, minute in said if minute == newest}
    assert versions[0] == versions[1]


def test_after_a_roll_back_a_late_hello_of_the_version_between_changes_nothing(registry: Registry) -> None:
    registry.hello(hello(manifest("catalog", version="1"), minute=1), login="catalog", now=0)
    registry.hello(hello(manifest("catalog", version="1"), minute=3), login="catalog", now=0)
    registry.hello(hello(manifest("catalog", version="2"), minute=2), login="catalog", now=0)
    assert registry.services["catalog"].manifest.version == "1"


def beat(of: Hello, *, load: int = 0) -> Beat:
    return Beat(instance=of.instance, service=of.manifest.service, digest="", load=load, consumed=(1,))


def test_a_beat_keeps_an_instance_and_tells_its_load(registry: Registry) -> None:
    said = hello(PRODUCTS)
    registry.hello(said, login="catalog", now=0)
    assert registry.beat(beat(said, load=7), login="catalog", now=LOST_AFTER)
    registry.forget_the_lost(now=LOST_AFTER + 1)
    instance = registry.services["catalog"].instances[said.instance]
    assert (instance.load, instance.consumed) == (7, (1,))


def test_a_beat_of_somebody_unknown_asks_for_the_roll(registry: Registry) -> None:
    assert not registry.beat(beat(hello(PRODUCTS)), login="catalog", now=0)


def test_a_beat_or_bye_of_another_service_changes_nothing(registry: Registry) -> None:
    said = hello(PRODUCTS)
    registry.hello(said, login="catalog", now=0)
    assert registry.beat(beat(said, load=7), login="plug", now=5)
    registry.bye(Bye(instance=said.instance, service="catalog"), login="plug")
    instance = registry.services["catalog"].instances[said.instance]
    assert (instance.load, instance.last_seen) == (0, 0)


def test_a_spoofer_that_is_unknown_does_not_get_the_roll_called(registry: Registry) -> None:
    assert registry.beat(beat(hello(PRODUCTS)), login="plug", now=0)


def test_beats_count_whichever_of_its_logins_said_hello_first(registry: Registry) -> None:
    registry.accept(PRODUCTS, login="edge", newest=NOON)
    said = hello(PRODUCTS, minute=1)
    registry.hello(said, login="catalog", now=0)
    registry.beat(beat(said), login="catalog", now=5)
    assert registry.services["catalog"].instances[said.instance].last_seen == 5


def test_who_misses_a_beat_is_late_and_who_misses_three_is_lost(registry: Registry) -> None:
    registry.hello(hello(PRODUCTS), login="catalog", now=0)
    assert registry.late(now=LATE_AFTER) == []
    assert registry.late(now=LATE_AFTER + 0.1) == ["catalog"]
    registry.forget_the_lost(now=LOST_AFTER)
    assert not registry.services["catalog"].is_away
    registry.forget_the_lost(now=LOST_AFTER + 0.1)
    assert registry.services["catalog"].is_away


def test_where_nobody_consumes_all_are_gone_but_who_came_meanwhile(registry: Registry) -> None:
    fresh = hello(PRODUCTS)
    registry.hello(hello(PRODUCTS), login="catalog", now=0)
    registry.hello(fresh, login="catalog", now=5)
    registry.nobody_consumes("catalog", since=4)
    assert set(registry.services["catalog"].instances) == {fresh.instance}
    registry.nobody_consumes("catalog")
    assert registry.services["catalog"].is_away


segment = st.sampled_from(["a", "b", "{x}", "{y}"])
template = st.lists(segment, min_size=1, max_size=4).map(lambda segments: "/" + "/".join(segments))


@given(template, template)
def test_two_templates_overlap_when_one_path_fits_both(one: str, other: str) -> None:
    def fits(path: str, to: str) -> bool:
        pairs = list(zip(path.split("/"), to.split("/"), strict=False))
        return path.count("/") == to.count("/") and all(b.startswith("{") or a == b for a, b in pairs)

    def fill(path: str, by: str) -> str:
        pairs = zip(path.split("/"), by.split("/"), strict=False)
        return "/".join(
            "a" if a.startswith("{") and b.startswith("{") else b if a.startswith("{") else a for a, b in pairs
        )

    witness = fill(one, other)
    assert overlap(one, other) == (fits(witness, one) and fits(witness, other))
    assert overlap(one, other) == overlap(other, one)


names = st.sampled_from(["a", "b", "c"])
manifests = st.builds(
    lambda name, paths, version: manifest(
        name, *(offer(f"{name}.op{number}.v1", path) for number, path in enumerate(paths)), version=str(version)
    ),
    names,
    st.lists(template, max_size=3),
    st.integers(0, 99),
)


@given(st.lists(manifests, max_size=8))
def test_no_path_ever_leads_to_two_services(said: list[Manifest]) -> None:
    registry = Registry(trusted_logins=frozenset())
    for minute, one in enumerate(said):
        registry.hello(hello(one, minute=minute), login=one.service, now=0)
        held = [(record.name, offer.http.path) for record, offer in registry.offers() if offer.http]
        assert not [(a, b) for a in held for b in held if a[0] != b[0] and overlap(a[1], b[1])]
