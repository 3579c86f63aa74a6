"""What one customer tries on another, and on the shop: rows of OWASP's API Security Top 10 on the whole platform."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from contracts.users import User
from tests.support.customer import Customer, customer_of, visitor
from tests.support.endpoint import endpoint
from tests.support.platform import Platform

CARD = "pm_card_visa"
NOT_THERE = {"/metrics", "/admin", "/debug", "/console", "/.git/config", "/.env", "/server-status", "/actuator", "/v1"}
NOT_THERE |= {"/openapi.yaml", "/swagger", "/graphql", "/asyncapi", "/asyncapi.json/try", "/v1/orders", "/api/orders"}


async def test_another_s_order_is_as_if_it_were_not_by_whatever_route(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    """Whatever the live document has below /orders/{id}, also what is added to it some day."""
    sku = await staff.add_product(on_hand=50)
    order = await customer.settled(await customer.order(sku))
    paths = (await staff.get("/openapi.json"))["paths"]
    routes = [(method, path) for path in paths if path.startswith("/orders/{id}") for method in paths[path]]
    assert len(routes) >= 5
    async with customer_of(platform) as other, visitor(platform.edge) as guest:
        mine = await guest.post("/orders", {**purchase(sku), "email": "guest@guests.example"})
        for who, token in ((other, None), (guest, None), (guest, mine["order_token"]), (other, mine["order_token"])):
            for method, path in routes:
                answer = await reach(who, method, path.replace("{id}", order["id"]), token)
                assert answer.status_code in (401, 403, 404), f"{method} {path}: {answer.status_code} {answer.text}"
                assert order["number"] not in answer.text
        for question in (f"q={order['number']}", f"cursor={uuid4()}", "status=confirmed", "limit=100"):
            assert (await other.get(f"/orders?{question}"))["items"] == []
    assert await customer.get(f"/orders/{order['id']}") == order


async def reach(who: Customer, method: str, path: str, token: str | None) -> httpx.Response:
    """As somebody who guesses what is asked for."""
    told = {"order_token": token} if token else {}
    if method in ("get", "delete"):
        return await who.http.request(method, path, params=told)
    guessed = {"carrier": "x", "tracking": "x"} if path.endswith("/shipments") else {}
    return await who.http.request(method, path, json={**guessed, **told, "restock": True} if guessed else told)


async def test_another_s_account_is_seen_and_changed_by_staff_only(platform: Platform, customer: Customer) -> None:
    me = await customer.get("/users/me")
    async with customer_of(platform) as other:
        for method, path, body in (
            ("GET", f"/users/{me['id']}", None),
            ("GET", f"/users?email={me['email']}", None),
            ("PUT", f"/users/{me['id']}/roles", {"roles": ["staff"]}),
            ("PUT", f"/users/{me['id']}/suspension", {"suspended": True}),
        ):
            assert (await other.http.request(method, path, json=body)).status_code == 403
    assert await customer.get("/users/me") == me


async def test_another_s_idempotency_key_opens_nothing(platform: Platform, staff: Customer, customer: Customer) -> None:
    sku, key = await staff.add_product(on_hand=50), {"Idempotency-Key": str(uuid4())}
    async with customer_of(platform) as other:
        orders = [(await who.http.post("/orders", json=purchase(sku), headers=key)).json() for who in (customer, other)]
        assert orders[0]["id"] != orders[1]["id"]
        assert [order["id"] for order in (await other.get("/orders"))["items"]] == [orders[1]["id"]]


ASSIGNED: list[tuple[str, str, dict[str, Any]]] = [
    *(
        ("POST", "/users", {"email": "eve@customers.example", "password": "correct horse", "name": "Eve", **more})
        for more in ({"roles": ["staff"]}, {"email_verified": True}, {"id": str(uuid4())})
    ),
    *(
        ("PATCH", "/users/me", more)
        for more in (
            {"roles": ["staff"]},
            {"email": "else@customers.example"},
            {"email_verified": True},
            {"suspended": False},
            {"password": "correct horse"},
            {"token_generation": 0},
        )
    ),
    *(
        ("POST", "/orders", {"items": [{"sku": "{sku}", "quantity": 1}], "payment_method": CARD, **more})
        for more in (
            {"total": {"amount": 1, "currency": "EUR"}},
            {"status": "confirmed"},
            {"payment": {"status": "captured"}},
            {"customer_id": str(uuid4())},
            {"number": "1"},
            {"items": [{"sku": "{sku}", "quantity": 1, "price": {"amount": 1, "currency": "EUR"}}]},
        )
    ),
    ("POST", "/quotes", {"items": [{"sku": "{sku}", "quantity": 1, "net": 1}]}),
    ("POST", "/quotes", {"items": [{"sku": "{sku}", "quantity": 1}], "expires_at": "2100-01-01T00:00:00Z"}),
]


async def test_what_is_not_the_client_s_to_say_is_refused(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku, me = await staff.add_product(on_hand=5), await customer.get("/users/me")
    for method, path, body in ASSIGNED:
        told = json.loads(json.dumps(body).replace("{sku}", sku))
        answer = await customer.http.request(method, path, json=told)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request"), (path, body)
    assert await customer.get("/users/me") == me
    assert (await customer.get("/orders"))["items"] == []
    assert (await staff.get("/users?email=eve@customers.example"))["items"] == []


async def test_answers_show_what_they_document_and_no_more(staff: Customer, customer: Customer) -> None:
    assert (await customer.get("/users/me")).keys() == User.model_fields.keys()
    sku = await staff.add_product(on_hand=5)
    product = await customer.get(f"/products/{sku}")
    assert product["available"] == 5
    assert {"on_hand", "reserved"}.isdisjoint(product)
    order = await customer.order(sku)
    assert order["order_token"] is None
    assert "payment_method" not in order


async def test_nobody_fetches_what_an_address_in_a_request_leads_to(staff: Customer, customer: Customer) -> None:
    """Neither a picture, nor a note, nor the keys that a token or a proxy's header names."""
    async with endpoint() as trap:
        sku, price = f"T-{uuid4()}", {"amount": 100, "currency": "EUR"}
        product = {"sku": sku, "name": "A trap", "category": "tests", "price": price, "on_hand": 5}
        await staff.post("/products", {**product, "images": [trap.url]})
        headers = {"X-Forwarded-Host": trap.url, "X-Original-URL": trap.url, "Referer": trap.url, "Forwarded": trap.url}
        wanted = {**purchase(sku), "metadata": {"callback_url": trap.url}}
        order = (await customer.http.post("/orders", json=wanted, headers=headers)).json()
        assert (await customer.settled(order))["status"] == "confirmed"
        assert (await customer.http.get(f"/products/{sku}")).json()["images"] == [trap.url]
        async with httpx.AsyncClient(trust_env=False) as somebody:
            await somebody.get(f"{trap.url}known")
        assert len(trap.posts) == 1


@pytest.mark.parametrize("path", sorted(NOT_THERE))
async def test_nothing_is_there_that_nobody_documents(staff: Customer, path: str) -> None:
    answer = await staff.http.get(path)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/no-such-route")


async def test_an_answer_tells_nothing_about_what_made_it_and_lets_browsers_do_nothing_with_it(
    customer: Customer,
) -> None:
    for method, path in (("GET", "/products"), ("GET", "/nothing"), ("TRACE", "/products"), ("GET", "/orders/x")):
        answer = await customer.http.request(method, path, headers={"X-Probe": "probe"})
        assert {"x-powered-by", "set-cookie", "access-control-allow-origin"}.isdisjoint(answer.headers)
        assert answer.headers["server"] == "granian", "no version"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["cache-control"] in ("no-store", "no-cache")
        assert "probe" not in answer.text
        assert "Traceback" not in answer.text


def purchase(sku: str) -> dict[str, Any]:
    """One of it."""
    return {"items": [{"sku": sku, "quantity": 1}], "payment_method": CARD}
