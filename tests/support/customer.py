"""Somebody who uses the platform over HTTP: a customer, a guest or a member of staff."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

from tests.support.eventually import eventually
from tests.support.platform import Platform

SETTLED = {"confirmed", "rejected"}


class Customer:
    """A session at the edge; it is nobody until it registers or logs in."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def log_in(self, email: str, password: str) -> Self:
        """Become this user."""
        session = await self.post("/sessions", {"email": email, "password": password})
        self.http.headers["Authorization"] = f"Bearer {session['access_token']}"
        return self

    async def register(self) -> Self:
        """Become a new customer."""
        email, password = f"{secrets.token_hex(8)}@customers.example", secrets.token_urlsafe(12)
        await self.post("/users", {"email": email, "password": password, "name": "Robin Test"})
        return await self.log_in(email, password)

    async def get(self, path: str) -> Any:
        """The answer, which must be a success."""
        return _success(await self.http.get(path))

    async def post(self, path: str, body: Any = None) -> Any:
        """The answer, which must be a success."""
        return _success(await self.http.post(path, json=body))

    async def add_product(self, *, on_hand: int, cents: int = 1000) -> str:
        """As staff: a new product; returns its sku."""
        sku = f"T-{secrets.token_hex(6)}"
        price = {"amount": cents, "currency": "EUR"}
        product = {"sku": sku, "name": "A thing", "category": "tests", "price": price, "on_hand": on_hand}
        await self.post("/products", product)
        return sku

    async def stock(self, sku: str) -> dict[str, int]:
        """As staff: what is on hand, reserved and available, told by a movement there and one back."""
        for delta in (1, -1):
            level = await self.post(f"/products/{sku}/stock-movements", {"delta": delta, "reason": "counted"})
        return {name: level[name] for name in ("on_hand", "reserved", "available")}

    async def available(self, sku: str) -> int:
        """How many can be ordered."""
        return int((await self.get(f"/products/{sku}"))["available"])

    async def order(self, sku: str, quantity: int = 1, card: str = "pm_card_visa") -> dict[str, Any]:
        """Place an order."""
        wanted = {"items": [{"sku": sku, "quantity": quantity}], "payment_method": card}
        return dict(await self.post("/orders", wanted))

    async def settled(self, order: dict[str, Any], *, within: float = 5) -> dict[str, Any]:
        """The order once it is confirmed or rejected."""
        token = order.get("order_token")
        path = f"/orders/{order['id']}" + (f"?order_token={token}" if token else "")

        async def look() -> dict[str, Any]:
            seen = dict(await self.get(path))
            assert seen["status"] in SETTLED, f"order {order['number']} is still {seen['status']}"
            return seen

        return await eventually(look, within=within)


@asynccontextmanager
async def visitor(edge: str) -> AsyncIterator[Customer]:
    """Somebody who is nobody yet."""
    async with httpx.AsyncClient(base_url=edge, timeout=15, trust_env=False) as http:
        yield Customer(http)


@asynccontextmanager
async def customer_of(platform: Platform) -> AsyncIterator[Customer]:
    """A new customer, logged in."""
    async with visitor(platform.edge) as somebody:
        yield await somebody.register()


@asynccontextmanager
async def staff_of(platform: Platform) -> AsyncIterator[Customer]:
    """The first member of staff, logged in."""
    administrator = platform.state.read("admin.json")
    async with visitor(platform.edge) as somebody:
        yield await somebody.log_in(administrator["email"], administrator["password"])


def _success(answer: httpx.Response) -> Any:
    request = answer.request
    assert answer.is_success, f"{request.method} {request.url.path} said {answer.status_code}: {answer.text}"
    return answer.json() if answer.content else None
