"""What clients get wrong, end to end: they are told what it was, and nothing is stored or breaks."""

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.support.customer import Customer, customer_of
from tests.support.platform import Platform

CARD = "pm_card_visa"
QUANTITIES = (0, -1, 1.5, 10_001, 10**12, 10**30, "1", True, None)
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Case:
    """A request (`{sku}` and `{order}` stand for a product and somebody else's order), and how it is refused."""

    name: str
    status: int
    slug: str
    method: str = "POST"
    path: str = "/orders"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def order(**changes: Any) -> bytes:
    """An order with something changed."""
    return json.dumps({"items": [{"sku": "{sku}", "quantity": 1}], "payment_method": CARD, **changes}).encode()


def with_quote(quote: str) -> bytes:
    """An order of a quote."""
    return json.dumps({"quote": quote, "payment_method": CARD}).encode()


def of(quantity: Any, sku: str = "{sku}") -> bytes:
    """An order of so many."""
    return order(items=[{"sku": sku, "quantity": quantity}])


def unsigned_token() -> str:
    """A token that nobody signed."""
    parts = ({"alg": "none", "typ": "at+jwt", "kid": "x"}, {"sub": str(uuid4()), "roles": ["staff"]})
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().strip("=") for part in parts), ""])


def bearing(token: str | None) -> dict[str, str]:
    """The header with this token; without one, `wrongly_answered` leaves the header out."""
    return {"Authorization": f"Bearer {token}" if token else ""}


BODIES = [
    Case("malformed JSON", 400, "malformed-json", body=b'{"items": ['),
    Case("no JSON at all", 400, "malformed-json", body=b"\xff\xfe\x00"),
    Case("a list", 422, "invalid-request", body=b"[]"),
    Case("wrong types", 422, "invalid-request", body=order(items="many")),
    Case("an unknown field", 422, "invalid-request", body=order(discount=100)),
    Case("an unknown field further in", 422, "invalid-request", body=order(items=[{"sku": "{sku}", "price": 1}])),
    Case("no payment method", 422, "invalid-request", body=b'{"items": [{"sku": "{sku}", "quantity": 1}]}'),
    Case("neither items nor quote", 422, "items-or-quote", body=json.dumps({"payment_method": CARD}).encode()),
    Case("more than 1 MiB", 413, "body-too-large", body=order(metadata={"note": "x" * 2**20})),
    Case("nested 100,000 deep", 400, "malformed-json", body=b"[" * 100_000 + b"]" * 100_000),
    Case("objects nested 100,000 deep", 400, "malformed-json", body=b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    Case("half a surrogate", 400, "malformed-json", body=order(metadata={"note": "\ud800"})),
    Case("a line break in an address", 422, "invalid-request", body=order(email="a@b.example\r\nBcc: c@d.example")),
    Case("NUL in the body", 422, "invalid-request", body=order(metadata={"note": "a\0b"})),
    Case("no JSON by its type", 415, "unsupported-media-type", body=order(), headers={"Content-Type": "text/plain"}),
    Case("nothing that is accepted", 406, "not-acceptable", body=order(), headers={"Accept": "text/html"}),
    Case("an unknown product", 422, "unknown-sku", body=of(1, sku="NO-SUCH-THING")),
    Case("an unknown quote", 422, "unknown-quote", body=with_quote(str(uuid4()))),
    Case("a quote that is no UUID", 422, "invalid-request", body=with_quote("q1")),
    *(Case(f"quantity {quantity}", 422, "invalid-request", body=of(quantity)) for quantity in QUANTITIES),
]
ADDRESSES = [
    Case("NUL in the path", 422, "invalid-request", "GET", "/products/a%00b"),
    Case("NUL in the query", 422, "invalid-request", "GET", "/products?q=a%00b"),
    Case("an address that is no UTF-8", 400, "malformed-url", "GET", "/products/%ff"),
    Case("an unknown query field", 422, "invalid-request", "GET", "/products?colour=green"),
    Case("a query field twice", 422, "invalid-request", "GET", "/products?limit=1&limit=2"),
    Case("a limit that is no number", 422, "invalid-request", "GET", "/products?limit=many"),
    Case("a limit out of range", 422, "invalid-request", "GET", "/products?limit=101"),
    Case("a cursor of nobody's", 422, "invalid-request", "GET", "/orders?cursor=abc"),
    Case("a bad UUID", 422, "invalid-request", "GET", "/orders/not-a-uuid"),
    Case("an unknown product's page", 404, "no-such-product", "GET", "/products/NO-SUCH-THING"),
    Case("an unknown order", 404, "no-such-order", "GET", f"/orders/{uuid4()}"),
    Case("somebody else's order", 404, "no-such-order", "GET", "/orders/{order}"),
    Case("an unknown route", 404, "no-such-route", "GET", "/nothing/here"),
    Case("a method that is not allowed", 405, "method-not-allowed", "DELETE", "/orders"),
]
ME = "/users/me"
TOKENS = [
    Case("no token", 401, "unauthenticated", "GET", ME, headers=bearing(None)),
    Case("a token that is none", 401, "unauthenticated", "GET", ME, headers=bearing("abc")),
    Case("a token that nobody signed", 401, "unauthenticated", "GET", ME, headers=bearing(unsigned_token())),
    Case("a bad token where none is needed", 401, "unauthenticated", "GET", "/products", headers=bearing("abc")),
    Case("a customer where staff is needed", 403, "forbidden", "POST", "/products", body=b"{}"),
    *(
        Case(f"an idempotency key {what}", 400, "bad-idempotency-key", body=order(), headers={"Idempotency-Key": key})
        for what, key in (("with a control character", "a\tb"), ("that is too long", "k" * 256), ("of nothing", ""))
    ),
]


@dataclass
class Shop:
    """A product, a customer who has ordered nothing yet, and an order of somebody else's."""

    sku: str
    customer: Customer
    other_order: str
    staff: Customer

    def fill_in(self, text: str) -> str:
        """Put the product and the order where they are meant."""
        return text.replace("{sku}", self.sku).replace("{order}", self.other_order)

    async def rows(self) -> tuple[list[str], list[str], int]:
        """The customer's orders, everybody's newest ones, and how many of the product are available."""
        own, newest = [(await who.get("/orders"))["items"] for who in (self.customer, self.staff)]
        ids = [[order["id"] for order in orders] for orders in (own, newest)]
        return ids[0], ids[1], await self.staff.available(self.sku)


@pytest.fixture
async def shop(platform: Platform, staff: Customer, customer: Customer) -> AsyncIterator[Shop]:
    sku = await staff.add_product(on_hand=50)
    async with customer_of(platform) as other:
        theirs = await other.settled(await other.order(sku))
        yield Shop(sku, customer, theirs["id"], staff)


async def test_bad_input_is_named_and_stores_nothing_and_breaks_nothing(platform: Platform, shop: Shop) -> None:
    rows, logged = await shop.rows(), {name: len(entries) for name, entries in platform.logs().items()}
    wrong = {case.name: found for case in BODIES + ADDRESSES + TOKENS if (found := await wrongly_answered(shop, case))}
    assert wrong == {}
    assert await shop.rows() == rows
    for name, entries in platform.logs().items():
        assert [entry for entry in entries[logged.get(name, 0) :] if is_alarming(entry)] == [], name


async def test_an_expired_token_is_refused(platform: Platform, customer: Customer) -> None:
    scheme, _, token = customer.http.headers["Authorization"].partition(" ")
    header, claims, _ = token.split(".")
    for expires, status in ((int(time.time()) + 60, 200), (int(time.time()) - 60, 401)):
        forged = signed(platform, decoded(header), decoded(claims) | {"exp": expires})
        answer = await customer.http.get("/users/me", headers={"Authorization": f"{scheme} {forged}"})
        assert answer.status_code == status, answer.text


async def wrongly_answered(shop: Shop, case: Case) -> str | None:
    """What was wrong with the answer, if anything."""
    body = case.body.replace(b"{sku}", shop.sku.encode())
    headers = {**(JSON if body else {}), **case.headers}
    request = shop.customer.http.build_request(case.method, shop.fill_in(case.path), content=body, headers=headers)
    if request.headers["Authorization"] == "":
        del request.headers["Authorization"]
    answer = await shop.customer.http.send(request)
    wanted = (case.status, "application/problem+json", case.slug, case.status)
    found = (answer.status_code, answer.headers.get("content-type"), slug_of(answer), answer.json().get("status"))
    return None if found == wanted else f"{found} instead of {wanted}: {answer.text[:300]}"


def slug_of(answer: httpx.Response) -> str:
    """The slug of a problem."""
    return str(answer.json().get("type", "")).removeprefix("/problems/")


def is_alarming(entry: dict[str, Any]) -> bool:
    """Whether a log line tells of a defect: an error, a stack, or anything that is no line of ours."""
    return entry.get("level") not in {"info", "warning"} or "exception" in entry or "Traceback" in str(entry)


def decoded(part: str) -> dict[str, Any]:
    """A part of a token."""
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def signed(platform: Platform, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token signed with the platform's own key."""
    key = ECKey.import_key((platform.state.folder / "signing-key.pem").read_text())
    return str(jwt.encode(header, claims, key))
