"""Access tokens that ended before their time.

Promise: a revocation counts here as soon as its event arrives; what was revoked before this edge listened, or while it
could not, is asked for at each connect, and until that was answered once no token passes. Who issues the tokens is who
has the keys (keys.py); its word alone counts. What is revoked is kept until the last of the tokens has expired.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from pamqp import commands
from pydantic import ValidationError

from broker import topology
from broker.ids import new_id, new_token
from broker.lane import LaneError, Request, Requester
from broker.lane.wire.connection import Wire
from broker.lane.wire.frames import Delivery, Returned
from broker.reconnecting import BrokerAwayError
from broker.telemetry import log
from contracts.tokens import (
    GENERATION_CLAIM,
    GET_REVOCATIONS,
    LIFETIME_SECONDS,
    REVOKED,
    SESSION_CLAIM,
    Revocation,
    Revocations,
)
from edge_api.keys import keys_target
from edge_api.routing import Routes, Target

KEPT_SECONDS = LIFETIME_SECONDS + 60.0
"""Longer than a token by what clocks may differ."""
ASK_WITHIN = 2.0
TRY_AGAIN_AFTER = 0.2
WARN_AFTER_FAILURES = 25
Entry = TypeVar("Entry")


class RevocationsUnavailableError(Exception):
    """What was revoked can't be had right now."""


Source = Callable[[], Awaitable[Revocations]]
"""Asks for all revocations that may still matter. Raises RevocationsUnavailableError."""


class RevocationList:
    """What is revoked. Those in `on_revoked` are called with the session or user whose tokens are to be looked at
    again."""

    def __init__(self, source: Source) -> None:
        self.are_known = False
        """Whether they were had once."""
        self.on_revoked: list[Callable[[UUID], None]] = []
        self._source = source
        self._missed = asyncio.Event()
        self._missed.set()
        self._sessions: dict[UUID, tuple[float, None]] = {}
        self._generations: dict[UUID, tuple[float, int]] = {}

    def cover(self, claims: dict[str, Any]) -> bool:
        """Whether a token with these claims is void. Raises ValueError and its like."""
        generation = claims.get(GENERATION_CLAIM, 0)
        if not isinstance(generation, int):
            raise ValueError("a generation is a number")
        _, first_valid = self._generations.get(UUID(claims["sub"]), (0.0, 0))
        return UUID(claims[SESSION_CLAIM]) in self._sessions or generation < first_valid

    def hear(self, revocation: Revocation) -> None:
        """Tokens were revoked."""
        if revocation.session is not None:
            self._void_session(revocation.session)
        else:
            self._void_generations(revocation.user_id, revocation.generation)

    def ask_again(self) -> None:
        """Something may have been missed."""
        self._missed.set()

    async def keep_current_forever(self) -> None:
        """Catch up with what was missed, until cancelled."""
        failures = 0
        while True:
            await self._missed.wait()
            self._missed.clear()
            try:
                self._take(await self._source())
                failures = 0
            except RevocationsUnavailableError as error:
                self._missed.set()
                failures += 1
                if failures == WARN_AFTER_FAILURES:
                    log.warning("what was revoked can't be had, trying on", error=str(error))
                await asyncio.sleep(TRY_AGAIN_AFTER)

    def _take(self, revoked: Revocations) -> None:
        for session in revoked.sessions:
            self._void_session(session)
        for user, generation in revoked.generations.items():
            self._void_generations(user, generation)
        self.are_known = True

    def _tell(self, subject: UUID) -> None:
        for tell in self.on_revoked:
            tell(subject)

    def _void_session(self, session: UUID) -> None:
        _renew(self._sessions, session, None)
        self._tell(session)

    def _void_generations(self, user: UUID, generation: int) -> None:
        _, known = self._generations.get(user, (0.0, 0))
        _renew(self._generations, user, max(generation, known))
        self._tell(user)


def _renew(kept: dict[UUID, tuple[float, Entry]], key: UUID, entry: Entry) -> None:
    """Keep it as the newest, and drop what has been kept long enough."""
    now = time.monotonic()
    kept.pop(key, None)
    kept[key] = (now + KEPT_SECONDS, entry)
    while kept[oldest := next(iter(kept))][0] <= now:
        del kept[oldest]


def from_issuer(routes: Routes, requester: Requester, *, login: str | None = None) -> Source:
    """A source that asks who issues the tokens; who can't revoke any has nothing to tell."""

    async def ask() -> Revocations:
        issuer = keys_target(routes, login=login)
        if issuer is None:
            raise RevocationsUnavailableError("nobody is there who issues tokens")
        topic = f"{issuer.record.name}.{GET_REVOCATIONS}"
        if topic not in _topics(issuer):
            return Revocations()
        request = Request(topic, b"{}", time.time() + ASK_WITHIN, request_id=str(new_id()))
        try:
            answer = await requester.request(request)
            if answer.refused:
                raise RevocationsUnavailableError("the revocations were refused")
            return Revocations.model_validate_json(answer.body)
        except (LaneError, BrokerAwayError, ValidationError) as error:
            raise RevocationsUnavailableError(repr(error)) from error

    return ask


def _topics(issuer: Target) -> set[str]:
    return {offer.topic for offer in issuer.record.offers}


class Listener:
    """Hears on one connection what is revoked, and has asked for what was missed before."""

    def __init__(self, revocations: RevocationList, routes: Routes, *, owner: str, login: str | None = None) -> None:
        self._revocations = revocations
        self._routes = routes
        self._owner = owner
        self._login = login

    async def listen(self, wire: Wire) -> None:
        """From now on, as long as the wire is there."""
        channel = await wire.channel()
        channel.on_content = self._hear
        queue = topology.tidings_queue(self._owner, new_token())
        await channel.call(*topology.tidings(queue, f"*.{REVOKED}"))
        await channel.call(commands.Basic.Consume(queue=queue, no_ack=True))
        self._revocations.ask_again()

    def _hear(self, message: Delivery | Returned) -> None:
        issuer = keys_target(self._routes, login=self._login)
        # What an issuer says that is not known yet, the question that follows will tell.
        if isinstance(message, Returned) or issuer is None:
            return
        if message.key.decode(errors="replace") != f"{issuer.record.name}.{REVOKED}":
            return
        try:
            self._revocations.hear(Revocation.model_validate_json(message.body))
        except ValidationError as error:
            log.error("a revocation makes no sense", error=str(error)[:300])
