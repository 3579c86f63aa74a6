"""The adapter of the sandbox gateway (infra/sandbox_gateway)."""

import time
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import aiohttp
from pydantic import BaseModel, StringConstraints

from broker.tracing import calling
from contracts.base import Money
from workers.payments.gateway import (
    Gateway,
    GatewayRefusal,
    GatewayUnknown,
    Holding,
    KeySpent,
    Outcome,
    Webhook,
    most_telling,
)
from workers.payments.nonsense import making_sense
from workers.payments.signatures import is_signed

Read = TypeVar("Read", bound=BaseModel)


class _Refund(BaseModel):
    reference: str


class _Payment(BaseModel):
    id: str
    status: Literal["requires_action", "authorised", "captured", "voided", "declined"]
    code: str | None
    amount_captured: int
    refunds: tuple[_Refund, ...]
    client_secret: str | None
    next_action: dict[str, Any] | None


class _Error(BaseModel):
    code: str
    message: str
    payment: _Payment | None = None


class _Refused(BaseModel):
    error: _Error


class _Found(BaseModel):
    data: tuple[_Payment, ...]


class _Booked(_Payment):
    reference: str
    amount: int
    currency: str
    amount_refunded: int


class _Movement(BaseModel):
    id: int
    payment: _Booked


class _Moved(BaseModel):
    data: tuple[_Movement, ...]


class _Subject(BaseModel):
    reference: str
    status: str


class _Event(BaseModel):
    id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    type: Annotated[str, StringConstraints(max_length=255)]
    data: _Subject


class SandboxGateway(Gateway):
    """Answers within `total` seconds or raises `GatewayUnknown`. Build it where the event loop runs, or before. Without
    a `webhook_secret` no webhook is believed."""

    name = "sandbox"

    def __init__(
        self, url: str, secret_key: str, *, webhook_secret: str | None = None, connect: float = 2.0, total: float = 10.0
    ) -> None:
        self._url = url
        self._webhook_secret = webhook_secret
        self._headers = {"Authorization": f"Bearer {secret_key}"}
        self._timeout = aiohttp.ClientTimeout(total=total, sock_connect=connect)

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(self._url, headers=self._headers, timeout=self._timeout)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()

    def read_webhook(self, body: str, signature: str) -> Webhook | None:
        secret = self._webhook_secret
        if not secret or not is_signed(body, signature, secret, now=time.time()):
            return None
        try:
            event = _read(_Event, body)
        except GatewayUnknown:
            return None
        reference = _uuid(event.data.reference)
        return Webhook(event_id=event.id, type=event.type, status=event.data.status, reference=reference)

    async def find(self, reference: str, *, gateway_id: str | None = None) -> Outcome:
        status, body = await self._ask("GET", "/v1/payments", params={"reference": reference})
        if status >= 400:
            raise _refusal(status, _read(_Refused, body).error)
        return most_telling(map(_outcome, _read(_Found, body).data))

    async def authorise(self, reference: str, amount: Money, payment_method: str, *, key: str) -> Outcome:
        body = {"reference": reference, **amount.model_dump(), "payment_method": payment_method}
        return await self._write("/v1/payments", key, body)

    async def capture(self, gateway_id: str, *, key: str) -> Outcome:
        return await self._write(f"/v1/payments/{gateway_id}/capture", key)

    async def void(self, gateway_id: str, *, key: str) -> Outcome:
        return await self._write(f"/v1/payments/{gateway_id}/void", key)

    async def refund(self, gateway_id: str, amount: int, refund_id: UUID, *, key: str) -> Outcome:
        body = {"amount": amount, "reference": str(refund_id)}
        return await self._write(f"/v1/payments/{gateway_id}/refund", key, body)

    async def moved(self, after: str | None, *, older_than: timedelta) -> tuple[list[Holding], str | None]:
        asked = {"after": after or "0", "older_than": str(older_than.total_seconds()), "limit": "100"}
        status, body = await self._ask("GET", "/v1/movements", params=asked)
        if status >= 400:
            raise _refusal(status, _read(_Refused, body).error)
        movements = _read(_Moved, body).data
        return [_holding(movement.payment) for movement in movements], str(movements[-1].id) if movements else after

    async def _write(self, path: str, key: str, request: dict[str, Any] | None = None) -> Outcome:
        status, body = await self._ask("POST", path, json=request or {}, headers={"Idempotency-Key": key})
        if status < 400:
            return _outcome(_read(_Payment, body))
        error = _read(_Refused, body).error
        if error.payment is None:
            raise _refusal(status, error)
        return _outcome(error.payment, code=error.code)

    async def _ask(self, method: str, path: str, **request: Any) -> tuple[int, bytes]:
        try:
            with calling(method, f"{self._url}{path}") as call:
                request["headers"] = {**request.get("headers", {}), **call.headers}
                async with self._session.request(method, path, allow_redirects=False, **request) as answer:
                    call.answered(answer.status)
                    if answer.status < 500 and answer.status not in (409, 429):
                        return answer.status, await answer.read()
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as lost:
            raise GatewayUnknown(f"{method} {path}: {type(lost).__name__}") from lost
        if answer.status >= 500 and answer.headers.get("Idempotent-Replayed") == "true":
            raise KeySpent(f"{method} {path}: the gateway replays a {answer.status}")
        raise GatewayUnknown(f"{method} {path}: {answer.status}")


def _read(kind: type[Read], body: bytes | str) -> Read:
    with making_sense(SandboxGateway.name):
        return kind.model_validate_json(body)


def _refusal(status: int, error: _Error) -> GatewayRefusal:
    return GatewayRefusal(f"{status} {error.code}: {error.message}")


def _outcome(payment: _Payment, code: str | None = None) -> Outcome:
    return Outcome(
        status=payment.status,
        gateway_id=payment.id,
        code=payment.code or code,
        captured=payment.amount_captured,
        refunds=frozenset(id_ for refund in payment.refunds if (id_ := _uuid(refund.reference)) is not None),
        client_secret=payment.client_secret,
        next_action=payment.next_action,
    )


def _holding(payment: _Booked) -> Holding:
    return Holding(
        gateway_id=payment.id,
        reference=_uuid(payment.reference),
        amount=Money(amount=payment.amount, currency=payment.currency),
        refunded=payment.amount_refunded,
        outcome=_outcome(payment),
    )


def _uuid(text: str) -> UUID | None:
    """None for what is not ours."""
    try:
        return UUID(text)
    except ValueError:
        return None
