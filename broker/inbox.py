"""The inbox: every message has its effect once, and the events of an aggregate have theirs in order.

Promise: claiming is the first thing in the effect's transaction. A sequenced event is a duplicate if something as
late was applied already; it is parked if an event that this service hears must come first, and sent home through the
outbox by the transaction that applies (or gives up) that predecessor. Everything else is claimed by its id, also what
was said before this service joined: nobody waits for that, so it may come late.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto

import asyncpg

from broker import outbox
from broker.message import Incoming
from broker.transaction import Transaction

_JOIN = "INSERT INTO subscriptions (topic) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
_JOINED = "SELECT topic, joined_at FROM subscriptions WHERE topic = ANY($1)"
_CLAIM_BY_ID = "INSERT INTO inbox (queue, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"
_CLAIM_IN_ORDER = """
INSERT INTO positions AS applied (source, aggregate, sequence)
VALUES ($1, $2, CASE WHEN $4 = 0 THEN $3::bigint ELSE 0 END)
ON CONFLICT (source, aggregate) DO UPDATE SET sequence = $3
    WHERE applied.sequence < $3 AND applied.sequence >= $4::bigint
RETURNING sequence, waited_for
"""
"""Locks the position also where it returns nothing, because the message is a duplicate or came early."""
_APPLIED = "SELECT sequence FROM positions WHERE source = $1 AND aggregate = $2"
_RELEASE = """
DELETE FROM parked WHERE source = $1 AND aggregate = $2 AND predecessor <= $3
RETURNING sequence, queue, aggregate, headers, body
"""
_PARK = """
WITH noted AS (UPDATE positions SET waited_for = true WHERE source = $1 AND aggregate = $2 AND NOT waited_for)
INSERT INTO parked (source, aggregate, sequence, predecessor, queue, headers, body)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
"""
_SUSPECT = """
INSERT INTO suspects (queue, message_id, tries) VALUES ($1, $2, 0)
ON CONFLICT (queue, message_id) DO UPDATE SET tries = suspects.tries + 1
RETURNING tries
"""
_ACQUIT = "DELETE FROM suspects WHERE queue = $1 AND message_id = $2"
# Longer than any way a message can come again: the retries take twelve minutes, a forgotten queue a holiday.
_PRUNE = """
DELETE FROM inbox WHERE claimed_at < now() - interval '14 days';
DELETE FROM suspects WHERE since < now() - interval '14 days'
"""


class Claim(Enum):
    """What became of the attempt to claim a message."""

    OURS = auto()
    DUPLICATE = auto()
    PARKED = auto()


Joined = Mapping[str, datetime]
"""Since when this service hears each topic that it wants in order."""


async def join(connection: asyncpg.Connection, topics: set[str]) -> Joined:
    """Note that these topics are heard from now on (if they were not before) and return since when."""
    await connection.execute(_JOIN, sorted(topics))
    return {row["topic"]: row["joined_at"] for row in await connection.fetch(_JOINED, sorted(topics))}


def predecessor(message: Incoming, joined: Joined) -> int:
    """The sequence that must have been applied before; 0 if there is none that this service hears."""
    return max(
        (sequence for topic, (sequence, at) in message.predecessors.items() if _joined_by(at, topic, joined)),
        default=0,
    )


def is_ordered(message: Incoming, joined: Joined) -> bool:
    """Whether the message has a place in its aggregate's order, as far as this service hears it."""
    return message.sequence is not None and _joined_by(message.said_at, message.topic, joined)


def _joined_by(milliseconds: int | None, topic: str, joined: Joined) -> bool:
    return topic in joined and (milliseconds is None or milliseconds >= joined[topic].timestamp() * 1000)


async def claim(transaction: Transaction, message: Incoming, joined: Joined) -> Claim:
    """Claim the message, or park it, or find that it had its effect. Who waits for a message that is ours comes next,
    once this transaction is committed."""
    if not is_ordered(message, joined):
        return await _claim_by_id(transaction.connection, message)
    awaited = predecessor(message, joined)
    place = (message.source, message.aggregate, message.sequence)
    claimed = await transaction.connection.fetchrow(_CLAIM_IN_ORDER, *place, awaited)
    if claimed is not None and claimed["sequence"] == message.sequence:
        if claimed["waited_for"]:
            await _release(transaction, place)
        return Claim.OURS
    if await transaction.connection.fetchval(_APPLIED, message.source, message.aggregate) >= message.sequence:
        return Claim.DUPLICATE
    # A stranger's header may be a time or bytes, which JSON has not.
    headers = json.dumps(message.headers, default=str)
    await transaction.connection.execute(_PARK, *place, awaited, message.queue, headers, message.body)
    return Claim.PARKED


async def suspect(connection: asyncpg.Connection, message: Incoming) -> int:
    """Note that a message is about to be tried which may end the process; returns how often that was noted before."""
    return int(await connection.fetchval(_SUSPECT, message.queue, message.id))


async def acquit(connection: asyncpg.Connection, message: Incoming) -> None:
    """The process has outlived the message."""
    await connection.execute(_ACQUIT, message.queue, message.id)


async def prune(connection: asyncpg.Connection) -> None:
    """Forget the claims that are too old to matter."""
    await connection.execute(_PRUNE)


async def _claim_by_id(connection: asyncpg.Connection, message: Incoming) -> Claim:
    claimed = await connection.fetchval(_CLAIM_BY_ID, message.queue, message.id)
    return Claim.OURS if claimed else Claim.DUPLICATE


async def _release(transaction: Transaction, applied: tuple[str, str, int | None]) -> None:
    waiting = await transaction.connection.fetch(_RELEASE, *applied)
    for _, queue, aggregate, headers, body in sorted(waiting, key=lambda row: int(row["sequence"])):
        transaction.woken.add(await outbox.send_home(transaction.connection, queue, aggregate, headers, body))
