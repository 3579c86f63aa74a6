"""The adapter of the sandbox gateway (infra/sandbox_gateway)."""

from functools import cached_property
from typing import Any

import aiohttp

from contracts.base import Money
from workers.payments.gateway import Gateway, GatewayRefusal, GatewayUnknown, KeySpent, Outcome

_MOST_TELLING_LAST = ("declined", "voided", "requires_action", "authorised", "captured")


class SandboxGateway(Gateway):
    """Answers within `total` seconds or raises `GatewayUnknown`. Build it where the event loop runs, or before."""

    def __init__(self, url: str, secret_key: str, *, connect: float = 2.0, total: float = 10.0) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {secret_key}"}
        self._timeout = aiohttp.ClientTimeout(total=total, sock_connect=connect)

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(self._url, headers=self._headers, timeout=self._timeout)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def find(self, reference: str) -> Outcome:
        answer = await self._ask("GET", "/v1/payments", params={"reference": reference})
        return max(
            map(_outcome, answer["data"]), key=lambda seen: _MOST_TELLING_LAST.index(seen.status), default=Outcome()
        )

    async def authorise(self, reference: str, amount: Money, payment_method: str, *, key: str) -> Outcome:
        body = {"reference": reference, **amount.model_dump(), "payment_method": payment_method}
        return await self._write("/v1/payments", key, body)

    async def capture(self, gateway_id: str, *, key: str) -> Outcome:
        return await self._write(f"/v1/payments/{gateway_id}/capture", key)

    async def void(self, gateway_id: str, *, key: str) -> Outcome:
        return await self._write(f"/v1/payments/{gateway_id}/void", key)

    async def _write(self, path: str, key: str, body: dict[str, Any] | None = None) -> Outcome:
        answer = await self._ask("POST", path, json=body or {}, headers={"Idempotency-Key": key})
        error = answer.get("error")
        return _outcome(answer) if error is None else _outcome(error["payment"], code=error["code"])

    async def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            async with self._session.request(method, path, **request) as answer:
                if answer.status < 500 and answer.status not in (409, 429):
                    return _understood(answer.status, await answer.json())
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as lost:
            raise GatewayUnknown(f"{method} {path}: {type(lost).__name__}") from lost
        if answer.status >= 500 and answer.headers.get("Idempotent-Replayed") == "true":
            raise KeySpent(f"{method} {path}: the gateway replays a {answer.status}")
        raise GatewayUnknown(f"{method} {path}: {answer.status}")


def _understood(status: int, answer: dict[str, Any]) -> dict[str, Any]:
    if status >= 400 and "payment" not in answer["error"]:
        raise GatewayRefusal(f"{status} {answer['error']['code']}: {answer['error']['message']}")
    return answer


def _outcome(payment: dict[str, Any], code: str | None = None) -> Outcome:
    return Outcome(status=payment["status"], gateway_id=payment["id"], code=payment["code"] or code)
