"""localstripe, a server with Stripe's interface from another hand, as a process of its own.

It knows no idempotency keys, no search, no `created` filter of payments, and tells of captured and failed payments
only. Its customers' cards are made at `/v1/payment_methods`.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from infra.launcher.state import any_free_port

KEY = "sk_test_of_localstripe"
_ASKS = "4000002760003184"
# Its own start would listen on every address, and keep its store in a file under /tmp that all runs share.
_START = """
import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda store: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


class LocalStripe:
    """One port; the process behind it starts empty."""

    def __init__(self) -> None:
        self.port = any_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self._process = subprocess.Popen((sys.executable, "-W", "ignore", "-c", _START, str(self.port)))
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, "localstripe ended before it answered"
            assert time.monotonic() < deadline, "localstripe does not answer"
            time.sleep(0.05)

    def end(self) -> None:
        """End the process."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def client(self) -> httpx.AsyncClient:
        """A client that knows the secret key."""
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=10, trust_env=False)

    async def card_that_asks(self) -> str:
        """A payment method whose bank asks for the customer."""
        card = {"number": _ASKS, "exp_month": 12, "exp_year": 2030, "cvc": "123"}
        async with self.client() as client:
            made = await client.post("/v1/payment_methods", json={"type": "card", "card": card})
            return str(made.raise_for_status().json()["id"])

    async def authenticate(self, gateway_id: str, client_secret: str, *, succeeded: bool) -> None:
        """What the customer does at the bank."""
        told = {"client_secret": client_secret, "success": succeeded}
        async with self.client() as client:
            path = f"/v1/payment_intents/{gateway_id}/_authenticate"
            (await client.post(path, json=told)).raise_for_status()

    async def pay_with_another_card(self, gateway_id: str) -> None:
        """What a customer may do in the browser after a card was declined."""
        async with self.client() as client:
            path = f"/v1/payment_intents/{gateway_id}"
            (await client.post(path, json={"payment_method": "pm_card_visa"})).raise_for_status()
            (await client.post(f"{path}/confirm")).raise_for_status()

    async def tell(self, url: str, secret: str) -> None:
        """Send webhooks there from now on."""
        async with self.client() as client:
            (await client.post("/_config/webhooks/hedgerow", json={"url": url, "secret": secret})).raise_for_status()

    async def intents(self, order: str) -> list[dict[str, object]]:
        """The payments of an order."""
        async with self.client() as client:
            listed = (await client.get("/v1/payment_intents", params={"limit": 1000})).raise_for_status().json()
        return [found for found in listed["data"] if found["metadata"].get("order") == order]

    async def refunded(self, gateway_id: str) -> list[int]:
        """What went back of a payment, in minor units."""
        async with self.client() as client:
            asked = {"payment_intent": gateway_id}
            listed = (await client.get("/v1/refunds", params=asked)).raise_for_status().json()
        return [refund["amount"] for refund in listed["data"]]

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/js.stripe.com/v3/", trust_env=False).is_success
        except httpx.TransportError:
            return False


@contextmanager
def running_localstripe() -> Iterator[LocalStripe]:
    """One that is up; killed at the end."""
    it = LocalStripe()
    it.start()
    try:
        yield it
    finally:
        it.end()
