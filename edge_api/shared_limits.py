"""Rates that several edges keep together, in Redis.

Promise: every edge that shares a Redis counts by its clock and under its lock, so a limit holds for all of them as for
one. Whatever came in while Redis was asked goes with the next question, so that one connection and one script call
serve any number of requests. A Redis that is away or slow never stops anybody: each edge then counts for itself, and
tries again a second later.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable

from redis.exceptions import RedisError

from broker.telemetry import log
from edge_api.limits import COUNTED_ALONE, Charge, Store
from edge_api.redis_client import ANSWER_WITHIN_SECONDS, AWAY_SECONDS, client

AT_ONCE = 500
"""Requests in one question: Redis does nothing else meanwhile."""
_PREFIX = "hedgerow:limit:"
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local said, key, arg = {}, 1, 1
while arg <= #ARGV do
    local keys, open, ahead = tonumber(ARGV[arg]), true, {}
    for i = 0, keys - 1 do
        local interval, window = tonumber(ARGV[arg + 1 + 2 * i]), tonumber(ARGV[arg + 2 + 2 * i])
        ahead[i] = math.max(0, (tonumber(redis.call('GET', KEYS[key + i])) or 0) - now)
        open = open and ahead[i] + interval <= window + 1e-6
    end
    for i = 0, keys - 1 do
        if open then
            local seconds = ahead[i] + tonumber(ARGV[arg + 1 + 2 * i])
            redis.call('SET', KEYS[key + i], string.format('%.6f', now + seconds), 'PX', math.ceil(seconds * 1000))
        end
        table.insert(said, string.format('%.6f', ahead[i]))
    end
    key, arg = key + keys, arg + 1 + 2 * keys
end
return said
"""


class Shared:
    """A store in Redis, with another one for the time in which Redis is away."""

    def __init__(self, url: str, alone: Store) -> None:
        self._redis = client(url)
        self._script = self._redis.register_script(_SCRIPT)
        self._alone = alone
        self._waiting: list[tuple[Charge, asyncio.Future[list[float] | None]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._away_until = 0.0

    async def charge(self, charge: Charge) -> list[float]:
        """How far ahead each key was. If all were open, one request is added to each."""
        if time.monotonic() >= self._away_until:
            ahead: asyncio.Future[list[float] | None] = asyncio.get_running_loop().create_future()
            self._waiting.append((charge, ahead))
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask_on())
            if (found := await ahead) is not None:
                return found
        COUNTED_ALONE.inc()
        return await self._alone.charge(charge)

    async def stay_connected(self) -> None:
        """For as long as this runs."""
        try:
            await asyncio.Event().wait()
        finally:
            with contextlib.suppress(RedisError, OSError):
                await self._redis.aclose()

    async def _ask_on(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            found = await self._ask([charge for charge, _ in batch])
            for (_, ahead), seconds in zip(batch, found, strict=True):
                if not ahead.done():
                    ahead.set_result(seconds)
        self._asking = None

    async def _ask(self, charges: list[Charge]) -> Iterable[list[float] | None]:
        keys = [_PREFIX + key for charge in charges for key, _ in charge]
        args = [arg for charge in charges for arg in (len(charge), *_numbers(charge))]
        try:
            async with asyncio.timeout(2 * ANSWER_WITHIN_SECONDS):
                said = iter(await self._script(keys=keys, args=args))
            return [[float(next(said)) for _ in charge] for charge in charges]
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            log.warning("Redis is away, this edge counts for itself", error=error)
            return [None] * len(charges)


def _numbers(charge: Charge) -> Iterable[float]:
    return (number for _, rate in charge for number in (rate.interval, rate.seconds))
