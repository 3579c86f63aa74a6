"""Webhooks: what happened to the money, told to one endpoint as Stripe tells it.

Promise: an event is written in the transaction of its effect and sent until the endpoint answers 2xx, however often
either of the two is started again; each attempt is signed anew, with its time. Unless the script says otherwise, only
that is told which no answer tells: what the customer did at the bank, and calls that are never answered or fail.
"""

import asyncio
import contextlib
import hashlib
import hmac
import ssl
import time
from typing import Annotated

import httpx
from pydantic import BaseModel, ConfigDict, Field

from infra.sandbox_gateway.ledger import Ledger, Webhook
from infra.sandbox_gateway.methods import Method

_ANSWER_WITHIN_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 0.25
_LONGEST_PAUSE = 60.0


class Script(BaseModel):
    """How webhooks behave, for tests; as it stands they come once, soon, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    everything: bool = False
    """Also what the answer of a call has told."""
    copies: Annotated[int, Field(ge=0, le=10)] = 1
    """How often each is sent; 0: never."""
    delay: Annotated[float, Field(ge=0)] = 0.0
    """Seconds from what happened to the first attempt."""
    before_the_answer: bool = False
    """The call is answered after its webhook was sent."""
    hold: bool = False
    """None is sent until a later script lets them go."""
    newest_first: bool = False


class Webhooks:
    """Tells the endpoint; without one, nobody."""

    def __init__(self, ledger: Ledger, url: str | None, secret: str, *, verify: ssl.SSLContext | bool = True) -> None:
        self.script = Script()
        self._ledger = ledger
        self._url = url
        self._secret = secret
        self._verify = verify
        self._sending = asyncio.Lock()

    def tell_at(self, method: Method | None = None) -> float | None:
        """From when on an effect is to be told (a Unix time); None: it is not. Without a method it is the customer's
        doing, which nobody's answer tells."""
        is_news = method is None or "after" in (method.silent, method.fails) or self.script.everything
        return time.time() + self.script.delay if self._url and is_news else None

    async def send_forever(self) -> None:
        """Send what is due, until cancelled."""
        async with self._client() as client:
            while True:
                await self._send_due(client)
                await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def send_now(self) -> None:
        """Send what is due before anything else happens, if the script wants that."""
        if self._url and self.script.before_the_answer:
            async with self._client() as client:
                await self._send_due(client)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=_ANSWER_WITHIN_SECONDS, trust_env=False, verify=self._verify)

    async def _send_due(self, client: httpx.AsyncClient) -> None:
        async with self._sending:
            if self.script.hold:
                return
            due = self._ledger.webhooks(due_at=time.time())
            for webhook in reversed(due) if self.script.newest_first else due:
                await self._send(client, webhook)

    async def _send(self, client: httpx.AsyncClient, webhook: Webhook) -> None:
        arrived = [await self._attempt(client, webhook.body) for _ in range(self.script.copies)]
        if all(arrived):
            self._ledger.close_webhook(webhook.id)
        else:
            pause = min(2.0**webhook.attempts, _LONGEST_PAUSE)
            self._ledger.postpone_webhook(webhook.id, due_at=time.time() + pause)

    async def _attempt(self, client: httpx.AsyncClient, body: str) -> bool:
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature(body, self._secret)}
        with contextlib.suppress(httpx.HTTPError):
            return (await client.post(self._url or "", content=body, headers=headers)).is_success
        return False


def signature(body: str, secret: str, *, at: float | None = None) -> str:
    """The header that proves where and when a body comes from, as Stripe makes it
    (https://docs.stripe.com/webhooks#verify-manually)."""
    moment = int(time.time() if at is None else at)
    digest = hmac.new(secret.encode(), f"{moment}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"
