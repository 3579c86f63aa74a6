"""What the platform's own services let whom do, by their real manifests, in front of an edge that is attacked."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from contracts.presence import Who
from contracts.tokens import JWKS_PATH
from edge_api.limits import Rate
from edge_api.routing import Target
from tests.edge_api.shop import manifests, shop
from tests.edge_api.test_openapi import every
from tests.edge_api.world import KEYS_TOPIC, World, bearing

OPEN = {
    *("POST /users", "POST /sessions", "POST /sessions/refresh"),
    *("POST /email-verifications", "POST /password-resets", "PUT /password-resets/{token}"),
    *("GET /products", "GET /products/{sku}", "GET /categories", "POST /quotes", f"GET {JWKS_PATH}"),
    *("POST /orders", "GET /orders/{id}", "GET /orders/{id}/events", "POST /orders/{id}/cancellation"),
    "DELETE /orders/{id}/customer",
    "POST /gateway-webhooks/{gateway}",
}
"""What needs no account: guests open their orders with a token, the gateway signs its webhooks."""
SECRETS = ("password", "hash", "generation", "sha256", "signature")


def of(who: Who) -> list[Target]:
    """The operations for these callers."""
    return [target for target in shop().table.targets if target.route.who == who]


def named(target: Target) -> str:
    return f"{target.route.method} {target.route.path}"


def address_of(target: Target) -> str:
    """An address that leads there."""
    return target.route.path.replace("{", "").replace("}", "")


@pytest.fixture
async def attacked() -> AsyncIterator[World]:
    """The edge in front of the real services' manifests, each answering whatever it is asked."""
    async with in_front_of_the_shop() as world:
        yield world


@asynccontextmanager
async def in_front_of_the_shop(rates: Mapping[str, Rate] | None = None) -> AsyncIterator[World]:
    world = World(rates)
    for manifest in manifests():
        world.present(manifest.service, *manifest.offers)
    async with world.client:
        yield world


def reached(world: World) -> list[str]:
    """What any service was asked but its keys."""
    return [request.topic for request in world.lane.asked if request.topic != KEYS_TOPIC]


def test_nothing_is_open_to_anyone_that_was_not_meant_to_be() -> None:
    assert {named(target) for target in of("anyone")} == OPEN


@pytest.mark.parametrize("target", of("staff"), ids=named)
async def test_what_staff_does_nobody_else_does(attacked: World, target: Target) -> None:
    method, path = target.route.method, address_of(target)
    assert (await attacked.client.request(method, path)).status_code == 401
    for roles in ([], ["customer"], ["Staff"], ["staff "], ["admin", "root"], ["customer,staff"]):
        response = await attacked.client.request(method, path, headers=bearing(attacked.token(roles=roles)))
        assert (response.status_code, response.json()["type"]) == (403, "/problems/forbidden")
    assert reached(attacked) == []


@pytest.mark.parametrize("target", of("user"), ids=named)
async def test_what_users_do_needs_a_token(attacked: World, target: Target) -> None:
    response = await attacked.client.request(target.route.method, address_of(target))
    assert (response.status_code, response.json()["type"]) == (401, "/problems/unauthenticated")
    assert reached(attacked) == []


@pytest.mark.parametrize(
    "path",
    ["/Users", "/users/", "//users", "/users//", "/./users", "/x/../users", "/users;a=b", "/%2fusers", "/users%00"],
)
async def test_another_spelling_of_an_address_leads_nowhere(attacked: World, path: str) -> None:
    customer = bearing(attacked.token(roles=["customer"]))
    request = attacked.client.build_request("GET", "/", headers=customer)
    request.url = request.url.copy_with(raw_path=path.encode())
    assert (await attacked.client.send(request)).status_code in (403, 404)
    assert reached(attacked) == []


async def test_a_header_does_not_turn_one_method_into_another(attacked: World) -> None:
    headers = {
        **bearing(attacked.token()),
        **dict.fromkeys(("x-http-method-override", "x-method-override", "x-http-method"), "DELETE"),
    }
    await attacked.client.get("/orders", headers=headers)
    assert reached(attacked) == ["orders.list-orders.v1"]


async def test_who_one_is_stands_in_the_token_alone(attacked: World) -> None:
    somebody = {"caller-id": str(uuid4()), "caller-roles": "staff", "x-user-id": str(uuid4()), "x-roles": "staff"}
    assert (await attacked.client.get("/users/me", headers=somebody)).status_code == 401
    assert (await attacked.client.get("/users", headers={**bearing(attacked.token()), **somebody})).status_code == 403
    assert reached(attacked) == []


def test_no_answer_has_a_field_for_a_secret() -> None:
    fields = {name for target in shop().table.targets for name in fields_of(target.offer.reply)}
    assert {"email", "total"} <= fields
    assert not [name for name in fields if any(secret in name for secret in SECRETS)]


def fields_of(schema: Any) -> Iterator[str]:
    """The names of all fields, at every depth."""
    for properties in every(schema, "properties"):
        yield from properties


async def test_a_bot_that_buys_is_slowed_down_with_however_many_accounts() -> None:
    rates = {"orders": Rate("orders", 2, 3600), "address": Rate("address", 6, 3600)}
    async with in_front_of_the_shop(rates) as world:

        async def buys(token: str) -> int:
            headers = {**bearing(token), "content-type": "application/json"}
            return (await world.client.post("/orders", content=b"{}", headers=headers)).status_code

        one = world.token()
        assert [await buys(one) for _ in range(4)] == [201, 201, 429, 429]
        others = [await buys(world.token()) for _ in range(6)]
        assert others == [201] * 4 + [429] * 2
        assert len(reached(world)) == 6
