"""How Stripe is asked, and what its errors mean.

Promise: one call is one HTTP request, which ends in time. A card's refusal (CardError) and a request's refusal
(InvalidRequestError) are answers and left to the caller; what else goes wrong is unknown, or a defect of ours.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx
import stripe
from pydantic import BaseModel

from broker.tracing import calling
from workers.payments.gateway import GatewayRefusal, GatewayUnknown, KeySpent
from workers.payments.nonsense import making_sense, nonsense

NAME = "stripe"
Answer = dict[str, Any]

stripe.enable_telemetry = False  # it would leave a file in the home folder and report how long requests took


class _Page(BaseModel):
    data: tuple[Answer, ...]
    has_more: bool


class _Traced(stripe.HTTPXClient):
    """Stripe's own client, whose requests are part of the trace that they are made for."""

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        with calling(method.upper(), url) as call:
            answer = await super().request_async(method, url, headers, post_data)
            call.answered(answer[1])
            return answer


class Calls:
    """Requests to Stripe at `url`, each answered within `total` seconds or unknown. None is repeated here: whoever
    repeats a write looks first (asking.py)."""

    def __init__(self, secret_key: str, url: str, *, connect: float, total: float) -> None:
        self._total = total
        self._http = _Traced(timeout=httpx.Timeout(total, connect=connect))
        client = stripe.StripeClient(
            secret_key, base_addresses={"api": url}, http_client=self._http, max_network_retries=0
        )
        self.intents = client.v1.payment_intents
        self.refunds = client.v1.refunds
        self.events = client.v1.events

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def ask(self, call: Awaitable[object]) -> Answer:
        """What Stripe answers. Raises GatewayUnknown, KeySpent, GatewayRefusal, CardError or InvalidRequestError."""
        try:
            async with asyncio.timeout(self._total):
                answer = await call
        except (stripe.CardError, stripe.InvalidRequestError):
            raise
        except (stripe.APIConnectionError, TimeoutError) as lost:
            raise GatewayUnknown(f"no answer from Stripe: {type(lost.__cause__ or lost).__name__}") from lost
        except stripe.RateLimitError as later:
            raise GatewayUnknown(f"Stripe asks for patience: {later}") from later
        except stripe.APIError as failure:
            raise _unknown(failure) from failure
        except stripe.StripeError as refused:
            raise refusal(refused) from refused
        except (AttributeError, TypeError, ValueError, LookupError) as stumble:
            raise nonsense(NAME, f"its package stumbles: {stumble!r}") from stumble
        if not isinstance(answer, stripe.StripeObject):
            raise nonsense(NAME, f"it answers with a {type(answer).__name__}")
        return answer.to_dict()

    async def pages(
        self, list_some: Callable[[Any], Awaitable[object]], **asked: Any
    ) -> AsyncIterator[tuple[Answer, ...]]:
        """All that Stripe lists, a page at a time, in its order: newest first."""
        position: dict[str, str] = {}
        while True:
            answer = await self.ask(list_some({"limit": 100, **asked, **position}))
            with making_sense(NAME):
                page = _Page.model_validate(answer)
            yield page.data
            if not page.has_more or not page.data:
                return
            position = {"starting_after": str(page.data[-1].get("id"))}


def refusal(refused: stripe.StripeError) -> GatewayRefusal:
    """What to raise where Stripe refused what should have been right."""
    return GatewayRefusal(f"{refused.http_status} {refused.code or type(refused).__name__}: {refused}")


def _unknown(failure: stripe.APIError) -> GatewayUnknown:
    status, headers = failure.http_status or 0, failure.headers or {}
    if status >= 500 and headers.get("Idempotent-Replayed") == "true":
        return KeySpent(f"Stripe replays a {status}")
    if status >= 500 or status == 409:
        return GatewayUnknown(f"Stripe answers {status}")
    return nonsense(NAME, f"a {status} that its package can't read")
