"""When the platform is ready: every service has answered itself.

The edge knows routes from manifests that outlive their services, so a route that is known says nothing of who is there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from contracts.tokens import JWKS_PATH
from infra.launcher.failure import Failure
from infra.launcher.services import Addresses
from infra.pinning import pinned

_PAUSE = 0.2
Sign = Callable[[httpx.AsyncClient], Awaitable[str | None]]
"""Looks once: None when all is as it should be, else what was found instead."""


async def wait_until_ready(
    at: Addresses, services: Collection[str], staff: dict[str, Any], check: Callable[[], None], *, within: float
) -> None:
    """Return when the edge and each of the services answer; `check` is called in between, and may raise.

    Raises `Failure` with what was seen last when that takes longer than so many seconds.
    """
    said, verify = "no answer", pinned(at.certificate)
    asking = httpx.AsyncClient(base_url=at.edge, timeout=5, trust_env=False, verify=verify)
    try:
        async with asyncio.timeout(within), asking as client:
            for sign in _signs(services, staff):
                while (found := await _look(sign, client)) is not None:
                    said = found
                    check()
                    await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise Failure(f"The platform did not become ready within {within:g} s: {said}; see ./justw logs.") from None


@dataclass(frozen=True)
class _Answer:
    """A request that needs no login, with an answer that only the service itself can give."""

    path: str
    status: int = 200
    problem: str | None = None

    async def __call__(self, client: httpx.AsyncClient) -> str | None:
        answer = await client.get(self.path)
        if answer.status_code == self.status and self._is_expected(answer):
            return None
        return f"GET {self.path} gave status {answer.status_code}"

    def _is_expected(self, answer: httpx.Response) -> bool:
        return self.problem is None or answer.json().get("type") == self.problem


@dataclass(frozen=True)
class _Presence:
    """A service without routes is seen on the roster, which is for staff."""

    service: str
    staff: dict[str, Any]

    async def __call__(self, client: httpx.AsyncClient) -> str | None:
        if "Authorization" not in client.headers:
            login = await client.post("/sessions", json=self.staff)
            if login.status_code == httpx.codes.UNAUTHORIZED:
                return None  # A database with other staff: nobody here may look.
            if login.is_error:
                return f"POST /sessions gave status {login.status_code}"
            client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        roster = (await client.get("/services")).raise_for_status().json()["services"]
        states = {service["name"]: service["state"] for service in roster}
        return None if states.get(self.service) == "present" else f"GET /services says that {self.service} is away"


_ANSWERS = {
    "users": _Answer(JWKS_PATH),
    "catalog": _Answer("/products?limit=1"),
    "orders": _Answer(f"/orders/{UUID(int=0)}?order_token=x", 404, "/problems/no-such-order"),
}


def _signs(services: Collection[str], staff: dict[str, Any]) -> Iterator[Sign]:
    yield _Answer("/healthz")
    yield from (answer for name, answer in _ANSWERS.items() if name in services)
    if "users" in services:
        yield from (_Presence(name, staff) for name in services if name not in _ANSWERS)


async def _look(sign: Sign, client: httpx.AsyncClient) -> str | None:
    try:
        return await sign(client)
    except (httpx.HTTPError, ValueError) as error:
        return f"no answer ({error or type(error).__name__})"
