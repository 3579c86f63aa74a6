"""Where each adapter of a gateway is tested: on a real server, with the payment methods that this server knows."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote
from uuid import uuid4

from aiohttp import web

from tests.support.localstripe import KEY as STRIPE_KEY
from tests.support.localstripe import LocalStripe
from tests.support.sandbox import KEY as SANDBOX_KEY
from tests.support.sandbox import WEBHOOK_SECRET, Sandbox
from tests.support.serving import serving
from workers.payments.gateway import Gateway, Outcome
from workers.payments.sandbox import SandboxGateway
from workers.payments.stripe.adapter import StripeGateway


class Place(Protocol):
    """A gateway's server and what differs from server to server. `pays` and `declines` are payment methods."""

    url: str
    pays: str
    declines: str

    def adapter(self, url: str, *, webhook_secret: str | None = WEBHOOK_SECRET, total: float = 4.0) -> Gateway:
        """The adapter, on this or another server."""

    async def method_that_asks(self) -> str:
        """A payment method whose bank asks for the customer."""

    async def authenticate(self, asked: Outcome, *, succeeded: bool) -> None:
        """What the customer does at the bank."""

    def event(self, reference: object) -> str:
        """A webhook which tells that money is held."""


class AtSandbox:
    """The sandbox gateway."""

    pays, declines = "pm_card_visa", "pm_card_visa_chargeDeclined"

    def __init__(self, sandbox: Sandbox) -> None:
        self.url = sandbox.url
        self._sandbox = sandbox

    def adapter(self, url: str, *, webhook_secret: str | None = WEBHOOK_SECRET, total: float = 4.0) -> Gateway:
        return SandboxGateway(url, SANDBOX_KEY, webhook_secret=webhook_secret, total=total)

    async def method_that_asks(self) -> str:
        return "pm_card_authenticationRequired"

    async def authenticate(self, asked: Outcome, *, succeeded: bool) -> None:
        assert asked.next_action is not None
        async with self._sandbox.client() as client:
            outcome = "succeeded" if succeeded else "failed"
            await client.post(asked.next_action["redirect_to_url"]["url"], params={"outcome": outcome})

    def event(self, reference: object) -> str:
        told = {"id": f"evt_{uuid4().hex}", "type": "payment.authorised", "created": int(time.time())}
        return json.dumps({**told, "data": {"id": "pay_1", "reference": str(reference), "status": "authorised"}})


class AtStripe:
    """Stripe's package, on localstripe. There, `pm_card_visa_chargeDeclined` is declined for customers only."""

    pays, declines = "pm_card_visa", "pm_card_chargeCustomerFail"

    def __init__(self, server: LocalStripe) -> None:
        self.url = server.url
        self._server = server

    def adapter(self, url: str, *, webhook_secret: str | None = WEBHOOK_SECRET, total: float = 4.0) -> Gateway:
        return StripeGateway(STRIPE_KEY, url=url, webhook_secret=webhook_secret, total=total)

    async def method_that_asks(self) -> str:
        return await self._server.card_that_asks()

    async def authenticate(self, asked: Outcome, *, succeeded: bool) -> None:
        assert asked.client_secret is not None
        await self._server.authenticate(asked.gateway_id, asked.client_secret, succeeded=succeeded)

    def event(self, reference: object) -> str:
        intent = {"id": "pi_1", "object": "payment_intent", "status": "requires_capture"}
        return stripe_event("payment_intent.amount_capturable_updated", metadata={"order": str(reference)}, **intent)


def stripe_event(type_: str, **subject: Any) -> str:
    """An event in Stripe's form, about this object."""
    told = {"id": f"evt_{uuid4().hex}", "object": "event", "type": type_, "created": int(time.time())}
    return json.dumps({**told, "data": {"object": subject}})


class Asked(NamedTuple):
    """A request: `GET /v1/events?limit=100`, and its idempotency key."""

    line: str
    key: str | None


@dataclass(frozen=True)
class Said:
    """An answer, or silence."""

    status: int = 200
    body: str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False


At = Mapping[str, Said | Sequence[Said]]


@asynccontextmanager
async def answering(said: Said, at: At | None = None) -> AsyncIterator[tuple[str, list[Asked]]]:
    """The address of a gateway that always says the same, and what it was asked so far. To what `at` names
    (`GET /v1/events`) it says something else, or one thing after the other."""
    asked: list[Asked] = []
    others = {request: iter((other,) if isinstance(other, Said) else other) for request, other in (at or {}).items()}

    async def answer(request: web.Request) -> web.Response:
        line = f"{request.method} {unquote(request.path_qs)}"
        asked.append(Asked(line, request.headers.get("Idempotency-Key")))
        await request.read()
        it = next(others.get(f"{request.method} {request.path}", iter(())), said)
        if it.silent:
            await asyncio.Event().wait()
        return web.Response(status=it.status, text=it.body, headers=it.headers, content_type="application/json")

    async with serving(answer) as url:
        yield url, asked
