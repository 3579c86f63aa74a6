"""The queue of mails, in SQL.

Promise: who takes a mail has it until it is due again, by the database's clock; nobody waits for a mail that somebody
else has.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from broker.ids import new_id

_ADD = "INSERT INTO mails (id, kind, lookup, news, attempts, due_at) VALUES ($1, $2, $3, $4, 0, now())"
_TAKE = """
UPDATE mails SET attempts = attempts + 1, due_at = now() + $1::interval * power(2, attempts)
WHERE id = (SELECT id FROM mails WHERE due_at <= now() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, kind, lookup, news, attempts
"""
_FORGET = "DELETE FROM mails WHERE id = $1"


@dataclass(frozen=True)
class Mail:
    """A mail that is to be sent: to whoever is found by `lookup`, or with news of an order (the event).
    `attempts` counts this one."""

    id: UUID
    kind: str
    lookup: bytes | None
    news: dict[str, Any] | None
    attempts: int


async def add(
    connection: asyncpg.Connection, kind: str, *, lookup: bytes | None = None, news: str | None = None
) -> None:
    """Have one sent; the event as JSON."""
    await connection.execute(_ADD, new_id(), kind, lookup, news)


async def take(connection: asyncpg.Connection, first_pause: timedelta) -> Mail | None:
    """The mail that has been due for longest. It is due again after a pause, the next one twice as long."""
    row = await connection.fetchrow(_TAKE, first_pause)
    return Mail(**row) if row else None


async def forget(connection: asyncpg.Connection, mail_id: UUID) -> None:
    """It was sent, or is not to be."""
    await connection.execute(_FORGET, mail_id)
