"""The public keys that verify access tokens.

Promise: the keys come over the request lane from whoever holds the route contracts.tokens.JWKS_PATH; they are asked for
again every five minutes, and at once for a key that is not known, though (once there are any) never more than once a
second nor twice at the same time.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from broker.ids import new_id
from broker.lane import LaneError, Request, Requester
from broker.reconnecting import BrokerAwayError
from broker.telemetry import log
from contracts.tokens import JWKS_PATH
from edge_api.problems import RefusedError
from edge_api.routing import Routes, Target

REFRESH_EVERY = 300.0
NOT_MORE_OFTEN_THAN = 1.0
ASK_WITHIN = 2.0
WARN_AFTER_FAILURES = 5


class KeysUnavailableError(Exception):
    """The keys can't be had right now."""


Source = Callable[[], Awaitable[bytes]]
"""Asks for the key set (RFC 7517). Raises KeysUnavailableError."""


class KeyRing:
    """The keys by their ids. `generation` changes whenever the set of keys does."""

    def __init__(self, source: Source) -> None:
        self.generation = 0
        self._source = source
        self._keys: dict[str, ECKey] = {}
        self._asked_at = -REFRESH_EVERY
        self._asking: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> ECKey | None:
        """The key of this id; None where there is no such key. Raises KeysUnavailableError."""
        if kid not in self._keys:
            await self._ask_again()
        return self._keys.get(kid)

    async def refresh_forever(self) -> None:
        """Keep the keys fresh until cancelled."""
        failures = 0
        while True:
            try:
                await self._ask_once()
                failures = 0
            except KeysUnavailableError as error:
                failures += 1
                if failures == WARN_AFTER_FAILURES:
                    log.warning("the keys of the tokens can't be had, trying on", error=error)
            await asyncio.sleep(NOT_MORE_OFTEN_THAN if failures else REFRESH_EVERY)

    async def _ask_again(self) -> None:
        asked_just_now = time.monotonic() - self._asked_at < NOT_MORE_OFTEN_THAN
        if self._asking is not None or not self._keys or not asked_just_now:
            await self._ask_once()

    async def _ask_once(self) -> None:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="keys")
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        try:
            keys = keys_in(await self._source())
        finally:
            self._asked_at, self._asking = time.monotonic(), None
        if not keys:
            raise KeysUnavailableError("the key set holds no key that fits")
        if keys.keys() != self._keys.keys():
            self.generation += 1
        self._keys = keys


def keys_in(key_set: bytes) -> dict[str, ECKey]:
    """The P-256 signature keys of a key set, by id; whatever else it holds is left out."""
    try:
        entries = json.loads(key_set)["keys"]
        return {entry["kid"]: _public(entry) for entry in entries if _fits(entry)}
    except (ValueError, TypeError, KeyError, JoseError) as error:
        raise KeysUnavailableError(f"not a key set: {error!r}") from error


def _fits(entry: dict[str, Any]) -> bool:
    return (
        (entry.get("kty"), entry.get("crv")) == ("EC", "P-256")
        and entry.get("use", "sig") == "sig"
        and isinstance(entry.get("kid"), str)
    )


def _public(entry: dict[str, Any]) -> ECKey:
    return ECKey.import_key({member: entry[member] for member in ("kty", "crv", "x", "y")})


def over_the_lane(routes: Routes, requester: Requester, *, login: str | None = None) -> Source:
    """A source that asks the operation behind the well-known route; of `login`'s service only, if given."""

    async def ask() -> bytes:
        target = keys_target(routes, login=login)
        if target is None or target.record.is_away:
            raise KeysUnavailableError(f"nobody is there who may answer GET {JWKS_PATH}")
        request = Request(target.offer.topic, b"{}", time.time() + ASK_WITHIN, request_id=str(new_id()))
        try:
            answer = await requester.request(request)
        except (LaneError, BrokerAwayError) as error:
            raise KeysUnavailableError(repr(error)) from error
        if answer.refused:
            raise KeysUnavailableError("the keys were refused")
        return answer.body

    return ask


def keys_target(routes: Routes, *, login: str | None = None) -> Target | None:
    """Who has the keys, if anybody (or this login) does."""
    try:
        target, _ = routes.table.find("GET", JWKS_PATH.encode())
    except RefusedError:
        return None
    held_by = target.record.login
    return target if login in (None, held_by, held_by.partition("@")[0]) else None
