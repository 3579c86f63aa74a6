"""The inbox: every message has its effect once, and the events of an aggregate have theirs in order.

Promise: claiming is the first statement of the effect's transaction. A sequenced event is a duplicate if something as
late was applied already; it is parked if an event that this service hears must come first, and sent home through the
outbox by the transaction that applies (or gives up) that predecessor. Everything else is claimed by its id, also what
was said before this service joined: nobody waits for that, so it may come late.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from broker import outbox
from broker.message import Incoming
from broker.tables import InboxRow, ParkedRow, PositionRow, SubscriptionRow, SuspectRow
from broker.transaction import Transaction

_positions = PositionRow.__table__  # type: ignore[attr-defined]
_parked = ParkedRow.__table__  # type: ignore[attr-defined]
_suspects = SuspectRow.__table__  # type: ignore[attr-defined]
_KEPT_FOR = "14 days"
"""Longer than any way a message can come again: the retries take twelve minutes, a forgotten queue a holiday."""


class Claim(Enum):
    """What became of the attempt to claim a message."""

    OURS = auto()
    DUPLICATE = auto()
    PARKED = auto()


Joined = Mapping[str, datetime]
"""Since when this service hears each topic that it wants in order."""


async def join(session: AsyncSession, topics: set[str]) -> Joined:
    """Note that these topics are heard from now on (if they were not before) and return since when."""
    for topic in sorted(topics):
        await session.execute(upsert(SubscriptionRow).values(topic=topic).on_conflict_do_nothing())
    rows = (await session.execute(select(SubscriptionRow.topic, SubscriptionRow.joined_at))).all()  # type: ignore[call-overload]
    return {row.topic: row.joined_at for row in rows if row.topic in topics}


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


async def claim(session: AsyncSession, message: Incoming, joined: Joined) -> Claim:
    """Claim the message, or park it, or find that it had its effect."""
    if message.sequence is None or not is_ordered(message, joined):
        return await _claim_by_id(session, message)
    applied = await _lock_position(session, message)
    if message.sequence <= applied:
        return Claim.DUPLICATE
    awaited = predecessor(message, joined)
    if awaited > applied:
        await _park(session, message, awaited)
        return Claim.PARKED
    return Claim.OURS


async def advance(transaction: Transaction, message: Incoming, joined: Joined) -> None:
    """The message has had its effect, or will never have it: who waits for it comes next."""
    if message.sequence is None or not is_ordered(message, joined):
        return
    session = transaction.session
    applied = await _lock_position(session, message)
    if message.sequence > applied:
        here = (_positions.c.source == message.source) & (_positions.c.aggregate == message.aggregate)
        await session.execute(_positions.update().where(here).values(sequence=message.sequence))
    waiting = (
        (_parked.c.source == message.source)
        & (_parked.c.aggregate == message.aggregate)
        & (_parked.c.predecessor <= max(applied, message.sequence))
    )
    released = (await session.execute(delete(_parked).where(waiting).returning(_parked))).all()
    for row in sorted(released, key=lambda row: int(row.sequence)):
        partition = await outbox.send_home(session, row.queue, row.aggregate, row.headers, row.body)
        transaction.woken.add(partition)


async def suspect(session: AsyncSession, message: Incoming) -> int:
    """Note that a message is about to be tried which may end the process; returns how often that was noted before."""
    statement = (
        upsert(SuspectRow)
        .values(queue=message.queue, message_id=message.id, tries=0)
        .on_conflict_do_update(index_elements=["queue", "message_id"], set_={"tries": _suspects.c.tries + 1})
        .returning(_suspects.c.tries)
    )
    return int((await session.execute(statement)).scalar_one())


async def acquit(session: AsyncSession, message: Incoming) -> None:
    """The process has outlived the message, or has given it up."""
    this = (_suspects.c.queue == message.queue) & (_suspects.c.message_id == message.id)
    await session.execute(delete(_suspects).where(this))


async def prune(session: AsyncSession) -> None:
    """Forget the claims that are too old to matter."""
    await session.execute(text(f"DELETE FROM inbox WHERE claimed_at < now() - interval '{_KEPT_FOR}'"))  # noqa: S608
    await session.execute(text(f"DELETE FROM suspects WHERE since < now() - interval '{_KEPT_FOR}'"))  # noqa: S608


async def _claim_by_id(session: AsyncSession, message: Incoming) -> Claim:
    statement = upsert(InboxRow).values(queue=message.queue, message_id=message.id).on_conflict_do_nothing()
    claimed = await session.execute(statement.returning(InboxRow.queue))  # type: ignore[call-overload]
    return Claim.OURS if claimed.first() is not None else Claim.DUPLICATE


async def _lock_position(session: AsyncSession, message: Incoming) -> int:
    statement = (
        upsert(PositionRow)
        .values(source=message.source, aggregate=message.aggregate, sequence=0)
        .on_conflict_do_update(index_elements=["source", "aggregate"], set_={"source": message.source})
        .returning(_positions.c.sequence)
    )
    return int((await session.execute(statement)).scalar_one())


async def _park(session: AsyncSession, message: Incoming, awaited: int) -> None:
    row = ParkedRow(
        source=message.source,
        aggregate=message.aggregate,
        sequence=message.sequence or 0,
        predecessor=awaited,
        queue=message.queue,
        # A stranger's header may be a time or bytes, which JSON has not.
        headers=json.loads(json.dumps(message.headers, default=str)),
        body=message.body,
    )
    values = row.model_dump(exclude={"parked_at"})
    await session.execute(upsert(ParkedRow).values(**values).on_conflict_do_nothing())
