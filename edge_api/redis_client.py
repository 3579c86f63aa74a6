"""Connections to the Redis that edges share. A Redis that is away or slow is noticed at once and left alone a while."""

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

ANSWER_WITHIN_SECONDS = 0.1
AWAY_SECONDS = 1.0
"""How long a Redis that did not answer is not asked."""


def client(url: str) -> redis.asyncio.Redis:
    """A client that tries once, and not for long."""
    return redis.asyncio.Redis.from_url(
        url,
        socket_timeout=ANSWER_WITHIN_SECONDS,
        socket_connect_timeout=ANSWER_WITHIN_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
