"""How often one client may ask.

Promise: a rate of `q` requests in `w` seconds lets `q` through at once and then one every `w / q` seconds (GCRA, ITU-T
I.371, annex A: one number for each client and limit). Each request counts for its address, for its user and for the
class of its operation; one that is refused counts for none of them. What is kept is bounded.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds."""

    name: str
    requests: int
    seconds: int

    @property
    def interval(self) -> float:
        """Seconds that one request takes."""
        return self.seconds / self.requests

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
        ahead = [max(0.0, (young.get(key) or old.get(key, 0.0)) - now) for key, _ in charge]
        if all(rate.is_open(seconds) for (_, rate), seconds in zip(charge, ahead, strict=True)):
            for (key, rate), seconds in zip(charge, ahead, strict=True):
                young[key] = now + seconds + rate.interval
            if len(young) > KEPT:
                self._young, self._old = {}, young
        return ahead


class Limits:
    """The rates that hold here. Without any, everybody may ask as often as they like."""

    def __init__(self, rates: Mapping[str, Rate], store: Store, clients: Clients) -> None:
        self._rates = rates
        self._store = store
        self._clients = clients
        self._shut: dict[str, float] = {}
        self._policies: dict[tuple[Rate, ...], Header] = {}
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
        charge = self._charge(address, caller, route)
        if not charge:
            return ()
        ahead = await self._store.charge(charge)
        rates = tuple(rate for _, rate in charge)
        for rate, seconds in zip(rates, ahead, strict=True):
            if not rate.is_open(seconds):
                raise self._refuse(address, rate, seconds)
        rate, seconds = min(zip(rates, ahead, strict=True), key=lambda pair: pair[0].left(pair[1]))
        said = f'"{rate.name}";r={rate.left(seconds) - 1};t={math.ceil(seconds + rate.interval)}'
        return ((b"ratelimit", said.encode()), self._policy(rates))

    def _charge(self, address: str, caller: Caller, route: Route | None) -> list[tuple[str, Rate]]:
        rates, charge = self._rates, []
        if (rate := rates.get("address")) is not None:
            charge.append((f"address {address}", rate))
        who = address
        if caller.id is not None:
            who = str(caller.id)
            if (rate := rates.get("user")) is not None:
                charge.append((f"user {who}", rate))
        if route is not None and (rate := self._class_of(route)) is not None:
            charge.append((f"{rate.name} {who}", rate))
        return charge

    def _class_of(self, route: Route) -> Rate | None:
        named = self._rates.get(route.limit) if route.limit is not None else None
        return named or self._rates.get("reads" if route.method == "GET" else "writes")

    def _refuse(self, address: str, rate: Rate, ahead: float) -> RefusedError:
        wait = ahead + rate.interval - rate.seconds
        if rate.name == "address":
            if len(self._shut) >= KEPT:
                self._shut.clear()
            self._shut[address] = time.monotonic() + wait
            log.info("an address asks too often", limit=f"{rate.requests} in {rate.seconds} s")
        return _refused(rate, wait)

    def _policy(self, rates: tuple[Rate, ...]) -> Header:
        """The RateLimit-Policy header (draft-ietf-httpapi-ratelimit-headers)."""
        if rates not in self._policies:
            said = ", ".join(f'"{rate.name}";q={rate.requests};w={rate.seconds}' for rate in rates)
            self._policies[rates] = (b"ratelimit-policy", said.encode())
        return self._policies[rates]


def _refused(rate: Rate, wait: float) -> RefusedError:
    LIMITED.labels(rate.name).inc()
    seconds = math.ceil(wait)
    return RefusedError(
        too_many_requests(f"At most {rate.requests} requests in {rate.seconds} s may be made here."),
        (b"retry-after", str(seconds).encode()),
        (b"ratelimit", f'"{rate.name}";r=0;t={seconds}'.encode()),
        (b"ratelimit-policy", f'"{rate.name}";q={rate.requests};w={rate.seconds}'.encode()),
    )
