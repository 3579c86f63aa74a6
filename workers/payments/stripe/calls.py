"""How Stripe is asked, and what its errors mean.

Promise: one call is one HTTP request, which ends in time. A card's refusal (CardError) and a request's refusal
(InvalidRequestError) are answers and left to the caller; what else goes wrong is unknown, or a defect of ours.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import stripe
from pydantic import BaseModel

from workers.payments.gateway import GatewayRefusal, GatewayUnknown, KeySpent
from workers.payments.nonsense import making_sense, nonsense

NAME = "stripe"
Answer = dict[str, Any]
_Lister = Callable[[Any], Awaitable[object]]

stripe.enable_telemetry = False  # it would leave a file in the home folder and report how long requests took


class _Page(BaseModel):
    data: tuple[Answer, ...]
    has_more: bool


def http_client(*, connect: float, total: float) -> stripe.AIOHTTPClient:
    """Its requests end within `total` seconds."""
    return stripe.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=total, sock_connect=connect))


async def ask(call: Awaitable[object]) -> Answer:
    """What Stripe answers. Raises GatewayUnknown, KeySpent, GatewayRefusal, CardError or InvalidRequestError."""
    try:
        answer = await call
    except (stripe.CardError, stripe.InvalidRequestError):
        raise
    except (stripe.APIConnectionError, aiohttp.ClientError, TimeoutError) as lost:
        raise GatewayUnknown(f"no answer from Stripe: {type(lost.__cause__ or lost).__name__}") from lost
    except stripe.RateLimitError as later:
        raise GatewayUnknown(f"Stripe asks for patience: {later}") from later
    except stripe.APIError as failure:
        raise _unknown(failure) from failure
    except stripe.StripeError as refusal:
        raise GatewayRefusal(f"{refusal.http_status} {type(refusal).__name__}: {refusal}") from refusal
    except (AttributeError, TypeError, ValueError, LookupError) as stumble:
        raise nonsense(NAME, f"its package stumbles: {stumble!r}") from stumble
    if not isinstance(answer, stripe.StripeObject):
        raise nonsense(NAME, f"it answers with a {type(answer).__name__}")
    return answer.to_dict()


async def pages(list_some: _Lister, **asked: Any) -> AsyncIterator[tuple[Answer, ...]]:
    """All that Stripe lists, a page at a time, in its order: newest first."""
    position: dict[str, str] = {}
    while True:
        answer = await ask(list_some({"limit": 100, **asked, **position}))
        with making_sense(NAME):
            page = _Page.model_validate(answer)
        yield page.data
        if not page.has_more or not page.data:
            return
        position = {"starting_after": str(page.data[-1].get("id"))}


def _unknown(failure: stripe.APIError) -> GatewayUnknown:
    status, headers = failure.http_status or 0, failure.headers or {}
    if status >= 500 and headers.get("Idempotent-Replayed") == "true":
        return KeySpent(f"Stripe replays a {status}")
    if status >= 500 or status == 409:
        return GatewayUnknown(f"Stripe answers {status}")
    return nonsense(NAME, f"a {status} that its package can't read")
