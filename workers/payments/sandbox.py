"""The adapter of the sandbox gateway (infra/sandbox_gateway)."""

import asyncio
from typing import Any

import httpx

from contracts.base import Money
from workers.payments.gateway import Gateway, GatewayRefusal, GatewayUnknown, KeySpent, Outcome

_MOST_TELLING_LAST = ("declined", "voided", "requires_action", "authorised", "captured")


class SandboxGateway(Gateway):
    """Answers within `total` seconds or raises `GatewayUnknown`. Build it where the event loop runs, or before."""

    def __init__(self, url: str, secret_key: str, *, connect: float = 2.0, total: float = 10.0) -> None:
        self._total = total
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {secret_key}"},
            timeout=httpx.Timeout(total, connect=connect),
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def find(self, reference: str) -> Outcome:
        answer = await self._ask("GET", "/v1/payments", params={"reference": reference})
        payments = answer.raise_for_status().json()["data"]
        return max(map(_outcome, payments), key=lambda seen: _MOST_TELLING_LAST.index(seen.status), default=Outcome())

    async def authorise(self, reference: str, amount: Money, payment_method: str, *, key: str) -> Outcome:
        body = {"reference": reference, **amount.model_dump(), "payment_method": payment_method}
        return await self._write("/v1/payments", key, body)

    async def capture(self, gateway_id: str, *, key: str) -> Outcome:
        return await self._write(f"/v1/payments/{gateway_id}/capture", key)

    async def void(self, gateway_id: str, *, key: str) -> Outcome:
        return await self._write(f"/v1/payments/{gateway_id}/void", key)

    async def _write(self, path: str, key: str, body: dict[str, Any] | None = None) -> Outcome:
        answer = await self._ask("POST", path, json=body or {}, headers={"Idempotency-Key": key})
        if answer.is_success:
            return _outcome(answer.json())
        error = answer.json()["error"]
        if "payment" not in error:
            raise GatewayRefusal(f"{answer.status_code} {error['code']}: {error['message']}")
        return _outcome(error["payment"], code=error["code"])

    async def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            async with asyncio.timeout(self._total):
                answer = await self._client.request(method, path, **request)
        except (httpx.RequestError, TimeoutError) as lost:
            raise GatewayUnknown(f"{method} {path}: {type(lost).__name__}") from lost
        if answer.status_code >= 500 and answer.headers.get("Idempotent-Replayed") == "true":
            raise KeySpent(f"{method} {path}: the gateway replays a {answer.status_code}")
        if answer.status_code >= 500 or answer.status_code in (409, 429):
            raise GatewayUnknown(f"{method} {path}: {answer.status_code}")
        return answer


def _outcome(payment: dict[str, Any], code: str | None = None) -> Outcome:
    return Outcome(status=payment["status"], gateway_id=payment["id"], code=payment["code"] or code)
