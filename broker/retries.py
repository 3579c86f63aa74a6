"""What happens to a message that failed.

Promise: it waits in the next tier and comes home to its queue, with the history of its failures; after the last tier,
or at once where trying again can't help, it goes to the dead letters with cause and stack. Nothing is requeued,
nothing is dropped: until the broker has confirmed the copy, the original stays unacknowledged.
"""

import asyncio
import json
import traceback
from datetime import UTC, datetime
from typing import Any

from broker import topology
from broker.message import Incoming
from broker.publisher import Publisher, PublishRefusedError
from broker.reconnecting import BrokerAwayError
from broker.telemetry import DEAD_LETTERED, RETRIED, log

_STACK_KEPT = 4_000
_HISTORY_KEPT = 10


class Retries:
    """Passes failed messages on."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    @staticmethod
    def tier_for(attempt: int) -> str | None:
        """Where a message waits whose `attempt`-th try (from 1) failed; None: nowhere any more."""
        tiers = list(topology.TIERS)
        return tiers[attempt - 1] if attempt <= len(tiers) else None

    async def try_again(self, message: Incoming, tier: str, error: BaseException) -> None:
        """Send the message to a retry tier."""
        headers = {**message.headers, "attempt": message.attempt + 1, "failures": _history(message.headers, error)}
        log.warning("a message failed, it is tried again", tier=tier, error=error)
        await self._certainly(topology.RETRIES, topology.way_home(tier, message.queue), message.body, headers)
        RETRIED.labels(message.queue, tier).inc()

    async def renew(self, message: Incoming) -> None:
        """Send the message home as a fresh one."""
        key = topology.way_home("renewed", message.queue)
        await self._certainly(topology.RETURNS, key, message.body, message.headers)

    async def bury(self, queue: str, body: bytes, headers: dict[str, Any], error: BaseException) -> None:
        """Send a message to the dead letters."""
        stack = "".join(traceback.format_exception(error))[-_STACK_KEPT:]
        buried = {
            **headers,
            "queue": queue,
            "cause": repr(error)[:1000],
            "stack": stack,
            "failures": _history(headers, error),
        }
        log.error("a message was given up on", queue=queue, message_id=headers.get("cloudEvents_id"), error=error)
        await self._certainly(topology.DEAD_LETTERS, queue, body, buried)
        DEAD_LETTERED.labels(queue).inc()

    async def _certainly(self, exchange: str, key: str, body: bytes, headers: dict[str, Any]) -> None:
        """Publish, however long it takes: this copy is all that will be left of the message."""
        while True:
            try:
                await self._publisher.publish(exchange, key, body, headers, mandatory=True)
                return
            except (BrokerAwayError, PublishRefusedError) as error:
                log.warning("a failed message can't be passed on yet", exchange=exchange, key=key, error=error)
                await asyncio.sleep(1)


def _history(headers: dict[str, Any], error: BaseException) -> str:
    """The failures so far and this one, as JSON: a list of {at, error}."""
    try:
        before = json.loads(headers.get("failures", "[]"))
    except (TypeError, ValueError):
        before = []
    return json.dumps([*before, {"at": datetime.now(UTC).isoformat(), "error": repr(error)[:300]}][-_HISTORY_KEPT:])
