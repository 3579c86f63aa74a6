"""A gateway whose calls are counted and timed.

Promise: what is asked and answered passes through unchanged; a call counts once, by what became of it.
"""

import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from prometheus_client import Counter, Histogram

from broker.telemetry import BUCKETS
from contracts.base import Money
from workers.payments.gateway import Gateway, GatewayRefusal, GatewayUnknown, Holding, KeySpent, Outcome, Webhook
from workers.payments.nonsense import NONSENSE

CALLS = Counter("hedgerow_gateway_calls", "Calls of the payment gateway.", ["call", "outcome"])
SECONDS = Histogram("hedgerow_gateway_seconds", "Time that it took to answer.", ["call"], buckets=BUCKETS)
_FAILURES = {KeySpent: "key-spent", GatewayUnknown: "unknown", GatewayRefusal: "refused"}
Said = TypeVar("Said")


def measured(gateway: Gateway) -> Gateway:
    """The same gateway, measured."""
    return _Measured(gateway)


class _Measured:
    """Not a subclass of the protocol: a call that the protocol gets and this lacks must not be answered by nothing."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.name = gateway.name
        for call in ("find", "authorise", "capture", "void", "moved", "refund"):
            for outcome in ("answered", *_FAILURES.values()):
                CALLS.labels(call, outcome)
        NONSENSE.labels(gateway.name)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._gateway.aclose()

    def read_webhook(self, body: str, signature: str) -> Webhook | None:
        return self._gateway.read_webhook(body, signature)

    async def find(self, reference: str, *, gateway_id: str | None = None) -> Outcome:
        return await _measured("find", self._gateway.find(reference, gateway_id=gateway_id))

    async def authorise(self, reference: str, amount: Money, payment_method: str, *, key: str) -> Outcome:
        return await _measured("authorise", self._gateway.authorise(reference, amount, payment_method, key=key))

    async def capture(self, gateway_id: str, *, key: str) -> Outcome:
        return await _measured("capture", self._gateway.capture(gateway_id, key=key))

    async def void(self, gateway_id: str, *, key: str) -> Outcome:
        return await _measured("void", self._gateway.void(gateway_id, key=key))

    async def moved(self, after: str | None, *, older_than: timedelta) -> tuple[list[Holding], str | None]:
        return await _measured("moved", self._gateway.moved(after, older_than=older_than))

    async def refund(self, gateway_id: str, amount: int, refund_id: UUID, *, key: str) -> Outcome:
        return await _measured("refund", self._gateway.refund(gateway_id, amount, refund_id, key=key))


async def _measured(call: str, asked: Awaitable[Said]) -> Said:
    began, outcome = time.perf_counter(), "failed"
    try:
        said = await asked
        outcome = "answered"
        return said
    except tuple(_FAILURES) as error:
        outcome = next(name for kind, name in _FAILURES.items() if isinstance(error, kind))
        raise
    finally:
        CALLS.labels(call, outcome).inc()
        SECONDS.labels(call).observe(time.perf_counter() - began)
