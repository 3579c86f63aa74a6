"""The adapter of Stripe: PaymentIntents with manual capture, Refunds, signed webhooks."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import stripe

from contracts.base import Money
from workers.payments.gateway import (
    Gateway,
    GatewayUnknown,
    Holding,
    Outcome,
    Webhook,
    most_telling,
)
from workers.payments.nonsense import making_sense
from workers.payments.signatures import TOLERANCE_SECONDS
from workers.payments.stripe.books import Books
from workers.payments.stripe.calls import NAME, Calls, refusal
from workers.payments.stripe.objects import ORDER, REFUND, Event, Intent, Refund

_WINDOW_SECONDS = 6 * 3600
_BROUGHT_ALONG = ("amount", "currency", "payment_method")


class StripeGateway(Gateway):
    """A request to Stripe ends within `total` seconds, a look through many payments within `long`; else
    `GatewayUnknown` is raised. Without a `webhook_secret` no webhook is believed."""

    name = NAME

    def __init__(
        self,
        secret_key: str,
        *,
        url: str,
        webhook_secret: str | None = None,
        connect: float = 2.0,
        total: float = 10.0,
        long: float = 45.0,
    ) -> None:
        self._webhook_secret = webhook_secret
        self._long = long
        self._calls = Calls(secret_key, url, connect=connect, total=total)
        self._books = Books(self._calls)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._calls.aclose()

    def read_webhook(self, body: str, signature: str) -> Webhook | None:
        if not self._webhook_secret or not signature.isascii():  # of others its package makes a TypeError
            return None
        try:
            stripe.WebhookSignature.verify_header(body, signature, self._webhook_secret, TOLERANCE_SECONDS)
            with making_sense(NAME):
                event = Event.model_validate_json(body)
        except (stripe.SignatureVerificationError, GatewayUnknown):
            return None
        return Webhook(event_id=event.id, type=event.type, status=event.status, reference=event.reference)

    async def find(self, reference: str, *, gateway_id: str | None = None) -> Outcome:
        known = await self._books.seen(gateway_id) if gateway_id else Outcome()
        if known.status in ("requires_action", "authorised", "captured"):
            return known
        async with self._in_time():
            return most_telling([known, *await self._books.of_order(reference)])

    async def authorise(self, reference: str, amount: Money, payment_method: str, *, key: str) -> Outcome:
        try:
            answer = await self._calls.ask(
                self._calls.intents.create_async(
                    {
                        "amount": amount.amount,
                        "currency": amount.currency.lower(),
                        "payment_method": payment_method,
                        "payment_method_types": ["card"],
                        "capture_method": "manual",
                        "confirm": True,
                        "metadata": {ORDER: reference},
                    },
                    {"idempotency_key": key},
                )
            )
        except stripe.CardError as declined:
            return await self._declined(reference, declined)
        except stripe.InvalidRequestError as refused:
            if not _is_of_the_order(refused):
                raise refusal(refused) from refused
            return Outcome(status="declined", code=refused.code or "invalid_payment_method")
        with making_sense(NAME):
            return Intent.model_validate(answer).outcome()

    async def capture(self, gateway_id: str, *, key: str) -> Outcome:
        asked = self._calls.intents.capture_async(gateway_id, {"expand": ["latest_charge"]}, {"idempotency_key": key})
        return await self._changed(gateway_id, asked)

    async def void(self, gateway_id: str, *, key: str) -> Outcome:
        asked = self._calls.intents.cancel_async(gateway_id, {"expand": ["latest_charge"]}, {"idempotency_key": key})
        return await self._changed(gateway_id, asked)

    async def refund(self, gateway_id: str, amount: int, refund_id: UUID, *, key: str) -> Outcome:
        try:
            answer = await self._calls.ask(
                self._calls.refunds.create_async(
                    {"payment_intent": gateway_id, "amount": amount, "metadata": {REFUND: str(refund_id)}},
                    {"idempotency_key": key},
                )
            )
        except (stripe.CardError, stripe.InvalidRequestError) as refused:
            return replace(await self._books.seen(gateway_id), code=refused.code or "refund_refused")
        with making_sense(NAME):
            refund = Refund.model_validate(answer)
        seen = await self._books.seen(gateway_id)
        return seen if refund.is_made else replace(seen, code=refund.failure_reason or "refund_failed")

    async def moved(self, after: str | None, *, older_than: timedelta) -> tuple[list[Holding], str | None]:
        """The cursor is a second in Unix time. Movements before the first call are not of this installation: Stripe's
        account may be older than our books."""
        until = int(time.time() - older_than.total_seconds())
        if after is None:
            return [], str(until)
        window = min(until, int(after) + _WINDOW_SECONDS)
        if window <= int(after):
            return [], after
        async with self._in_time():
            holdings, cut = await self._books.moved(int(after), window)
        return holdings, str(window if cut is None else cut)

    async def _changed(self, gateway_id: str, asked: Awaitable[object]) -> Outcome:
        try:
            answer = await self._calls.ask(asked)
        except (stripe.CardError, stripe.InvalidRequestError) as refused:
            return replace(await self._books.seen(gateway_id), code=refused.code or "refused")
        with making_sense(NAME):
            intent = Intent.model_validate(answer)
        return await self._books.outcome(intent)

    async def _declined(self, reference: str, declined: stripe.CardError) -> Outcome:
        """The error shows the payment; where it does not, the order's payments do."""
        told = declined.json_body["error"].get("payment_intent") if isinstance(declined.json_body, dict) else None
        if told is None:
            seen = await self.find(reference)
        else:
            with making_sense(NAME):
                seen = Intent.model_validate(told).outcome()
        if seen.status not in ("nothing", "declined"):
            return seen
        return replace(seen, status="declined", code=seen.code or declined.code or "declined")

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._long):
                yield
        except TimeoutError as late:
            raise GatewayUnknown(f"Stripe was asked for longer than {self._long} s") from late


def _is_of_the_order(refused: stripe.InvalidRequestError) -> bool:
    """Whether it is about what the order brought along, or about something that does not exist."""
    parameter = str(refused.param or refused.code).partition("[")[0]
    return refused.http_status == 404 or parameter.startswith(_BROUGHT_ALONG)
