"""`demo`: a customer buys something, and the story of the order is told as it happens; then a card is declined."""

import secrets
import time
from collections.abc import Iterator
from typing import Any

import httpx
from rich.console import Console

from infra.launcher.failure import Failure
from infra.launcher.payment_gateway import REAL_MONEY
from infra.launcher.state import State
from infra.launcher.status import runtime
from infra.pinning import pinned

_SETTLED = {"confirmed", "rejected", "cancelled"}
_console = Console(highlight=False, soft_wrap=True)


def show_demo(state: State) -> int:
    """Raises `Failure` when anything is not as it should be."""
    found = runtime(state)
    if found.get("payments") == REAL_MONEY:
        raise Failure("Payments go to Stripe with real money here, and the demo pays with test cards.")
    edge, certificate = str(found["edge"]), found.get("certificate")
    verify = pinned(str(certificate) if certificate else None)
    with httpx.Client(base_url=edge, timeout=15, trust_env=False, verify=verify) as client:
        _sign_up(client)
        product = _pick(client)
        before = product["available"]
        _say(f"{product['name']} ({product['sku']}): {_money(product['price'])}, {before} in stock")
        order = _order(client, product, "pm_card_visa", expected="confirmed")
        _expect_stock(client, product, before - 2)
        _say(f"stock {before} -> {before - 2}; total {_money(order['total'])}")
        _console.print("\n[bold]Again, with a card that is declined[/]")
        order = _order(client, product, "pm_card_visa_chargeDeclined", expected="rejected")
        _expect(order.get("reason"), "payment-declined", "reason")
        _expect_stock(client, product, before - 2)
        _say(f"reason {order['reason']}; stock is back at {before - 2}")
    return 0


def _sign_up(client: httpx.Client) -> None:
    email, password = f"demo-{secrets.token_hex(6)}@customers.example", secrets.token_urlsafe(12)
    _ask(client, "POST", "/users", {"email": email, "password": password, "name": "Robin Demo"})
    session = _ask(client, "POST", "/sessions", {"email": email, "password": password})
    client.headers["Authorization"] = f"Bearer {session['access_token']}"
    _console.print(f"[bold]{email}[/] registered and logged in")


def _pick(client: httpx.Client) -> dict[str, Any]:
    for product in _ask(client, "GET", "/products")["items"]:
        if product["available"] >= 10:
            return dict(product)
    raise Failure("No product has ten pieces in stock; add some, or start from an empty .hedgerow folder.")


def _order(client: httpx.Client, product: dict[str, Any], card: str, *, expected: str) -> dict[str, Any]:
    """Place an order for two and tell its story until it has settled as expected."""
    start = time.monotonic()
    wanted = {"items": [{"sku": product["sku"], "quantity": 2}], "payment_method": card}
    placed = _ask(client, "POST", "/orders", wanted)
    _console.print(f"order {placed['number']}: 2 x {product['name']}, paid with {card}")
    told = 0
    for order in _until_settled(client, placed):
        for entry in order["history"][told:]:
            _say(f"{entry['at']}  {entry['status']}")
        told = len(order["history"])
    took = (time.monotonic() - start) * 1000
    _expect(order["status"], expected, "status")
    _console.print(f"  [green]✓ {expected}[/] after {took:.0f} ms")
    return dict(order)


def _until_settled(client: httpx.Client, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    deadline = time.monotonic() + 15
    yield order
    while order["status"] not in _SETTLED:
        if time.monotonic() > deadline:
            raise Failure(f"Order {order['number']} is still {order['status']} after 15 s.")
        time.sleep(0.01)
        order = dict(_ask(client, "GET", f"/orders/{order['id']}"))
        yield order


def _expect_stock(client: httpx.Client, product: dict[str, Any], wanted: int) -> None:
    """The catalogue hears of an order's end a moment later."""
    deadline = time.monotonic() + 5
    while (found := _ask(client, "GET", f"/products/{product['sku']}")["available"]) != wanted:
        if time.monotonic() > deadline:
            _expect(found, wanted, f"stock of {product['sku']}")
        time.sleep(0.02)


def _ask(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    try:
        response = client.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise Failure(f"{method} {path} got no answer: {error}.") from error
    if response.is_error:
        raise Failure(f"{method} {path} said {response.status_code}: {response.text}")
    return response.json()


def _expect(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise Failure(f"The {what} should be {wanted} and is {found}.")


def _money(money: dict[str, Any]) -> str:
    return f"{money['amount'] / 100:.2f} {money['currency']}"


def _say(line: str) -> None:
    _console.print(f"  {line}")
