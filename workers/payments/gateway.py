"""What the payments service needs of a payment gateway; each gateway has an adapter beside this module.

Promise: an answer is the gateway's word. An adapter that does not know what happened raises, and never guesses:

    Exception
    ├── GatewayUnknown      the outcome is not known: ask again
    │   └── KeySpent        the gateway keeps a failure for this idempotency key: look, then use the next key
    └── GatewayRefusal      the gateway did not understand us: a defect
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

from contracts.base import Money


class GatewayUnknown(Exception):
    """The gateway may or may not have done what it was asked."""


class KeySpent(GatewayUnknown):
    """The gateway failed once and replays that failure for this key. What it did before it failed is not known."""


class GatewayRefusal(Exception):
    """The gateway refused a request that should have been right."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the gateway says of an order's payment. `code` is its word for a refusal, of the payment or of the request:
    a payment that is still `authorised` after a capture, with a code, could not be captured.

    `captured` is in minor units; `refunds` names those of our refunds that the gateway has made.
    """

    status: Literal["nothing", "requires_action", "authorised", "captured", "voided", "declined"] = "nothing"
    gateway_id: str = ""
    code: str | None = None
    captured: int = 0
    refunds: frozenset[UUID] = frozenset()
    client_secret: str | None = None
    next_action: dict[str, Any] | None = None


_MOST_TELLING_LAST = ("nothing", "declined", "voided", "requires_action", "authorised", "captured")


def most_telling(outcomes: Iterable[Outcome]) -> Outcome:
    """Of several payments of an order the one that took or holds money, or might yet."""
    return max(outcomes, key=lambda seen: _MOST_TELLING_LAST.index(seen.status), default=Outcome())


@dataclass(frozen=True, kw_only=True)
class Holding:
    """One payment in the gateway's own books, as it stands: all of its `amount`, and how much of it was `refunded`, by
    whomever. Without a `reference` of ours: somebody else's."""

    gateway_id: str
    reference: UUID | None
    amount: Money
    refunded: int
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """What the gateway tells on its own account: that something happened to a payment of ours. It is a hint to look,
    since it may come late, twice or before the answer that it belongs to. Without a `reference` of ours: somebody
    else's payment."""

    event_id: str
    type: str
    status: str
    reference: UUID | None = None


class Gateway(Protocol):
    """A gateway with manual capture. A write asked again with the same key has no second effect. Its `name` is that of
    its webhooks' route."""

    name: str

    def read_webhook(self, body: str, signature: str) -> Webhook | None:
        """What a webhook tells; None for one that the gateway did not sign, or not now."""

    async def find(self, reference: str, *, gateway_id: str | None = None) -> Outcome:
        """What the gateway has under our reference; of several payments the one that holds or took money. Whoever
        knows which one it is says so: that may be found sooner."""

    async def authorise(self, reference: str, amount: Money, payment_method: str, *, key: str) -> Outcome:
        """Hold money: authorised, declined or requires_action."""

    async def capture(self, gateway_id: str, *, key: str) -> Outcome:
        """Take the held money: captured, or as it was with a code."""

    async def void(self, gateway_id: str, *, key: str) -> Outcome:
        """Let go of the held money: voided, or as it was with a code."""

    async def moved(self, after: str | None, *, older_than: timedelta) -> tuple[list[Holding], str | None]:
        """The payments whose money last moved after the cursor, and not just now, in that order; and the cursor that
        follows."""

    async def refund(self, gateway_id: str, amount: int, refund_id: UUID, *, key: str) -> Outcome:
        """Give captured money back: with this refund among `refunds`, or as it was with a code."""

    async def aclose(self) -> None:
        """Close the connections."""
