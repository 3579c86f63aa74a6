"""Answers that several edges keep together, in Redis.

Promise: what is found here is no older than what the edge that looks has heard. An answer is sealed with a token of
every tag that it depends on, taken before the question was asked; who hears that a tag is struck deletes its token, and
a seal with a token that is gone opens nothing. An edge looks for nothing before its own strikes are done, and strikes
everything after a time in which it heard nothing or Redis was away. A Redis that is away or slow is only no help.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from broker.ids import new_token
from broker.telemetry import log
from edge_api.redis_client import ANSWER_WITHIN_SECONDS, AWAY_SECONDS, client

CONNECTIONS = 8
FORGOTTEN_AFTER = 86_400
"""Seconds after which a token that nobody struck is gone."""
_ANSWER, _TOKEN = "hedgerow:answer:", "hedgerow:token:"
_EVERYTHING = _TOKEN + "everything"
_SCRIPT = """
local tokens = {}
for i = 2, #KEYS do
    tokens[i - 1] = redis.call('GET', KEYS[i])
    if not tokens[i - 1] then
        tokens[i - 1] = ARGV[1]
        redis.call('SET', KEYS[i], ARGV[1], 'EX', ARGV[2])
    end
end
local seal = table.concat(tokens, ' ') .. '\\n'
local kept = redis.call('GET', KEYS[1])
if kept and string.sub(kept, 1, #seal) == seal then
    return {seal, string.sub(kept, #seal + 1), redis.call('PTTL', KEYS[1])}
end
return {seal}
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The seal for a new answer, and, if one is kept that may be given again, its body and for how many seconds."""

    seal: bytes
    body: bytes | None = None
    seconds: float = 0.0


class SharedAnswers:
    """The second level of a cache. Keys and tags are any words."""

    def __init__(self, url: str) -> None:
        self._redis = client(url)
        self._script = self._redis.register_script(_SCRIPT)
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._struck = {_EVERYTHING}
        """Tokens that are to be deleted before anything is looked for."""
        self._deleting: asyncio.Task[None] | None = None
        self._keeping: set[asyncio.Task[None]] = set()
        self._away_until = 0.0

    async def find(self, key: str, tags: Iterable[str]) -> Found | None:
        """What is kept of it; None while Redis is away."""
        tokens = [_EVERYTHING, *(_TOKEN + tag for tag in tags)]
        while self._struck or self._deleting:
            if self._is_away:
                return None
            self._delete_soon()
            if self._deleting is not None:
                await asyncio.wait([self._deleting])
        said = await self._try(self._script, keys=[_ANSWER + key, *tokens], args=[new_token(), FORGOTTEN_AFTER])
        if said is None:
            return None
        seal, *kept = said
        return Found(seal, kept[0], kept[1] / 1000) if kept else Found(seal)

    def keep(self, key: str, seal: bytes, body: bytes, seconds: int) -> None:
        """Keep what was asked after the seal was taken."""
        keeping = asyncio.create_task(self._try(self._redis.set, _ANSWER + key, seal + body, ex=seconds))
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)

    def strike(self, tags: Iterable[str]) -> None:
        """What was kept with one of these tags is never found again."""
        self._struck.update(_TOKEN + tag for tag in tags)
        self._delete_soon()

    def strike_everything(self) -> None:
        """Nothing that was kept is found again."""
        self._struck = {_EVERYTHING}
        self._delete_soon()

    async def stay_connected(self) -> None:
        """For as long as this runs."""
        try:
            await asyncio.Event().wait()
        finally:
            with contextlib.suppress(RedisError, OSError):
                await self._redis.aclose()

    @property
    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    def _delete_soon(self) -> None:
        if self._struck and self._deleting is None and not self._is_away:
            self._deleting = asyncio.create_task(self._delete())

    async def _delete(self) -> None:
        while self._struck and not self._is_away:
            tokens, self._struck = self._struck, set()
            await self._try(self._redis.delete, *tokens)
        self._deleting = None

    async def _try(self, ask: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any | None:
        """What Redis says; None while it is away, and then nothing is believed that it knew before."""
        if self._is_away:
            return None
        try:
            async with asyncio.timeout(2 * ANSWER_WITHIN_SECONDS), self._places:
                return await ask(*args, **options)
        except (RedisError, OSError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            self._struck = {_EVERYTHING}
            log.warning("Redis is away, this edge keeps answers for itself", error=error)
            return None
