"""How often one client may ask.

Promise: a rate of `q` requests in `w` seconds lets `q` through at once and then one every `w / q` seconds (GCRA, ITU-T
I.371, annex A: one number for each client and limit). Each request counts for its address, for its user and for the
class of its operation; one that is refused counts for none of them. What is kept is bounded.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol
from uuid import UUID

from prometheus_client import Counter
from starlette.types import Scope

from broker.lane import NOBODY
from broker.telemetry import log
from contracts.base import Caller
from contracts.presence import Route
from edge_api.clients import Clients
from edge_api.problems import RefusedError, too_many_requests
from edge_api.responses import Header

LIMITED = Counter("hedgerow_http_limited", "Requests refused because somebody asked too often.", ["limit"])
COUNTED_ALONE = Counter("hedgerow_http_limits_alone", "Requests counted by one edge alone, because Redis was away.")
KEPT = 50_000
"""How many clients each of the two halves of the memory holds."""
PREPARED = 4096
"""For how many of those who ask it is remembered what their requests count for."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds."""

    name: str
    requests: int
    seconds: int
    interval: float = field(init=False, repr=False)
    """Seconds that one request takes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", self.seconds / self.requests)

    def is_open(self, ahead: float) -> bool:
        """Whether one more may pass, of a client who is so many seconds ahead of the rate."""
        return ahead + self.interval <= self.seconds + 1e-6

    def left(self, ahead: float) -> int:
        """How many may pass at once."""
        return max(0, int((self.seconds - ahead) / self.interval + 1e-6))


DEFAULTS = {
    rate.name: rate
    for rate in (
        Rate("address", 3000, 60),
        Rate("user", 1200, 60),
        Rate("reads", 1200, 60),
        Rate("writes", 300, 60),
        Rate("credentials", 30, 60),
    )
}
"""By name: `address` and `user` count everything, the others one class of operations each."""

_RATE = re.compile(r"(?P<name>[a-z0-9-]{1,64})=(?P<requests>[1-9]\d{0,9})/(?P<seconds>[1-9]\d{0,5})")


def rates_from(text: str) -> dict[str, Rate]:
    """The default rates with these changes: "writes=100/60 exports=5/3600", or "off" for none. Raises ValueError."""
    if text == "off":
        return {}
    rates = dict(DEFAULTS)
    for one in text.split():
        found = _RATE.fullmatch(one)
        if found is None:
            raise ValueError(f"{one!r} is no rate like writes=100/60")
        rates[found["name"]] = Rate(found["name"], int(found["requests"]), int(found["seconds"]))
    return rates


Charge = Sequence[tuple[str, Rate]]
"""What one request counts for: a key, and the rate that holds for it."""


class Store(Protocol):
    """Where it is kept how many seconds each key is ahead of its rate."""

    async def charge(self, charge: Charge) -> list[float]:
        """How far ahead each key was. If all were open, one request is added to each."""
        ...


class Memory:
    """A store of one process. It forgets whoever did not ask while KEPT others did: to remember everybody would let
    anybody fill it."""

    def __init__(self) -> None:
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}

    async def charge(self, charge: Charge) -> list[float]:
        """How far ahead each key was. If all were open, one request is added to each."""
        now = time.monotonic()
        young, old = self._young, self._old
        ahead, is_open = [], True
        for key, rate in charge:
            seconds = max(0.0, (young.get(key) or old.get(key, 0.0)) - now)
            is_open = is_open and rate.is_open(seconds)
            ahead.append(seconds)
        if is_open:
            for (key, rate), seconds in zip(charge, ahead, strict=True):
                young[key] = now + seconds + rate.interval
            if len(young) > KEPT:
                self._young, self._old = {}, young
        return ahead


class _Due(NamedTuple):
    """What one request counts for, and the header that says by which rates."""

    charge: Charge
    policy: Header


class Limits:
    """The rates that hold here. Without any, everybody may ask as often as they like."""

    def __init__(self, rates: Mapping[str, Rate], store: Store, clients: Clients) -> None:
        self._rates = rates
        self._store = store
        self._clients = clients
        self._shut: dict[str, float] = {}
        self._due = lru_cache(PREPARED)(self._prepare)
        for name in rates:
            LIMITED.labels(name)

    def let_in(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """The client's address. Raises RefusedError, before anything is done for it, if it was refused just now."""
        address = self._clients.address(scope, headers)
        until = self._shut.get(address)
        if until is not None:
            wait = until - time.monotonic()
            if wait > 0:
                raise _refused(self._rates["address"], wait)
            del self._shut[address]
        return address

    async def count(self, address: str, caller: Caller = NOBODY, route: Route | None = None) -> tuple[Header, ...]:
        """Count one request, and say what is left. Raises RefusedError."""
        charge, policy = self._due(address, caller.id, None if route is None else self._class_of(route))
        if not charge:
            return ()
        fewest, said = math.inf, ""
        for (_, rate), seconds in zip(charge, await self._store.charge(charge), strict=True):
            if not rate.is_open(seconds):
                raise self._refuse(address, rate, seconds)
            if (left := rate.left(seconds)) < fewest:
                fewest, said = left, f'"{rate.name}";r={left - 1};t={math.ceil(seconds + rate.interval)}'
        return ((b"ratelimit", said.encode()), policy)

    def _prepare(self, address: str, user: UUID | None, operations: str | None) -> _Due:
        """The RateLimit-Policy header is that of draft-ietf-httpapi-ratelimit-headers."""
        who = address if user is None else str(user)
        counted = [("address", address), ("user", None if user is None else who), (operations, who)]
        charge = [
            (f"{name} {whom}", rate)
            for name, whom in counted
            if name is not None and whom is not None and (rate := self._rates.get(name)) is not None
        ]
        policy = ", ".join(f'"{rate.name}";q={rate.requests};w={rate.seconds}' for _, rate in charge)
        return _Due(charge, (b"ratelimit-policy", policy.encode()))

    def _class_of(self, route: Route) -> str:
        if route.limit is not None and route.limit in self._rates:
            return route.limit
        return "reads" if route.method == "GET" else "writes"

    def _refuse(self, address: str, rate: Rate, ahead: float) -> RefusedError:
        wait = ahead + rate.interval - rate.seconds
        if rate.name == "address":
            if len(self._shut) >= KEPT:
                self._shut.clear()
            self._shut[address] = time.monotonic() + wait
            log.info("an address asks too often", limit=f"{rate.requests} in {rate.seconds} s")
        return _refused(rate, wait)


def _refused(rate: Rate, wait: float) -> RefusedError:
    LIMITED.labels(rate.name).inc()
    seconds = math.ceil(wait)
    return RefusedError(
        too_many_requests(f"At most {rate.requests} requests in {rate.seconds} s may be made here."),
        (b"retry-after", str(seconds).encode()),
        (b"ratelimit", f'"{rate.name}";r=0;t={seconds}'.encode()),
        (b"ratelimit-policy", f'"{rate.name}";q={rate.requests};w={rate.seconds}'.encode()),
    )
