"""Access tokens that end before their time.

Promise: what is revoked is told to every edge once the transaction commits, and kept for edges that start later, until
the last of the tokens has expired by any of our clocks.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from broker.transaction import Transaction
from contracts.tokens import LIFETIME_SECONDS, Revocations
from contracts.users import TokensRevoked
from workers.users import store
from workers.users.tables import UserRow

KEPT_FOR = timedelta(seconds=LIFETIME_SECONDS + 60)


async def end_session(tx: Transaction, session_id: UUID | None) -> None:
    """Void the access and refresh tokens of one log-in, if it has not ended yet."""
    now = datetime.now(UTC)
    user_id = await store.end_session(tx.session, session_id, now)
    if user_id is not None and session_id is not None:
        await store.note_revocation(tx.session, session_id, None, now)
        tx.emit(TokensRevoked(user_id=user_id, session=session_id))


async def void_access_tokens(tx: Transaction, user: UserRow) -> None:
    """Void all access tokens that a (locked) user has; the refresh tokens lead to new ones."""
    user.token_generation += 1
    await store.note_revocation(tx.session, user.id, user.token_generation, datetime.now(UTC))
    tx.emit(TokensRevoked(user_id=user.id, generation=user.token_generation))


async def end_all_sessions(tx: Transaction, user: UserRow) -> None:
    """Void all access and refresh tokens that a (locked) user has."""
    await store.end_sessions(tx.session, user.id, datetime.now(UTC))
    await void_access_tokens(tx, user)


async def recent(tx: Transaction) -> Revocations:
    """What an edge that starts must know."""
    rows = await store.revocations_since(tx.session, datetime.now(UTC) - KEPT_FOR)
    return Revocations(
        sessions=tuple(row.subject for row in rows if row.generation is None),
        generations={row.subject: row.generation for row in rows if row.generation is not None},
    )
