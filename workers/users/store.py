"""The SQL of the users service."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from broker.ids import new_id
from broker.reader import Reader
from workers.users.rules import REFRESH_LIFETIME
from workers.users.tables import MailedTokenRow, MailRow, RefreshTokenRow, RevocationRow, SessionRow, UserRow
from workers.users.tokens import fingerprint


@dataclass(frozen=True)
class KnownPassword:
    """Whose password it is, and the hash that it is verified with."""

    user_id: UUID
    password_hash: str


_CREDENTIALS = "SELECT id, password_hash FROM users JOIN person_keys ON person = id WHERE lookup = $1"


async def credentials(reader: Reader, lookup: bytes) -> KnownPassword | None:
    """What a password is verified with, beside all transactions, for the address that is looked up so."""
    row = await reader.fetchrow(_CREDENTIALS, lookup)
    return KnownPassword(row["id"], row["password_hash"]) if row else None


async def user_by_id(db: AsyncSession, user_id: UUID | None) -> UserRow | None:
    """Who has this id."""
    return await db.scalar(select(UserRow).where(col(UserRow.id) == user_id))


async def locked_user(db: AsyncSession, user_id: UUID | None) -> UserRow | None:
    """A user as they are now, whom nobody changes until the transaction ends."""
    statement = select(UserRow).where(col(UserRow.id) == user_id).with_for_update(key_share=True)
    return await db.scalar(statement.execution_options(populate_existing=True))


async def users_before(db: AsyncSession, before: UUID | None, limit: int) -> Sequence[UserRow]:
    """So many users, the newest first, that are older than one of them."""
    statement = select(UserRow).order_by(col(UserRow.id).desc()).limit(limit)
    if before is not None:
        statement = statement.where(col(UserRow.id) < before)
    return (await db.scalars(statement)).all()


async def forget_user(db: AsyncSession, user: UserRow, lookup: bytes) -> None:
    """With the sessions, their tokens, and what was to be mailed."""
    await db.execute(delete(MailRow).where(col(MailRow.lookup) == lookup))
    await db.delete(user)


async def forget_erased_users(db: AsyncSession) -> None:
    """Those whose keys were destroyed while nobody of us ran."""
    await db.execute(text("DELETE FROM users USING erasures WHERE users.id = erasures.person"))


async def users_in_the_clear(db: AsyncSession, limit: int) -> Sequence[UserRow]:
    """Some users, locked, who are not sealed."""
    statement = select(UserRow).where(col(UserRow.email).is_not(None)).limit(limit)
    return (await db.scalars(statement.with_for_update(skip_locked=True))).all()


async def addressed_in_the_clear(db: AsyncSession) -> list[MailRow | MailedTokenRow]:
    """What has an address instead of a look-up, locked."""
    mails = select(MailRow).where(col(MailRow.email).is_not(None))
    tokens = select(MailedTokenRow).where(col(MailedTokenRow.email).is_not(None))
    return [
        *(await db.scalars(mails.with_for_update(skip_locked=True))).all(),
        *(await db.scalars(tokens.with_for_update(skip_locked=True))).all(),
    ]


async def set_password_hash(db: AsyncSession, user_id: UUID, password_hash: str) -> None:
    """Keep the same password under another hash."""
    await db.execute(update(UserRow).where(col(UserRow.id) == user_id).values(password_hash=password_hash))


async def was_mailed_since(db: AsyncSession, user_id: UUID, kind: str, moment: datetime) -> bool:
    """Whether the user was mailed a token of this kind after this moment."""
    theirs = select(MailedTokenRow).where(col(MailedTokenRow.user_id) == user_id, col(MailedTokenRow.kind) == kind)
    return await db.scalar(theirs.where(col(MailedTokenRow.mailed_at) > moment).limit(1)) is not None


async def mailed_token(db: AsyncSession, kind: str, token: str, now: datetime) -> MailedTokenRow | None:
    """A token of this kind that was mailed and is still good."""
    this = (col(MailedTokenRow.sha256) == fingerprint(token), col(MailedTokenRow.kind) == kind)
    return await db.scalar(select(MailedTokenRow).where(*this, col(MailedTokenRow.expires_at) > now))


async def spend_mailed_tokens(db: AsyncSession, user_id: UUID, kind: str, sha256: bytes) -> bool:
    """Forget the user's tokens of this kind; whether this one was among them."""
    theirs = delete(MailedTokenRow).where(col(MailedTokenRow.user_id) == user_id, col(MailedTokenRow.kind) == kind)
    return sha256 in (await db.scalars(theirs.returning(col(MailedTokenRow.sha256)))).all()


async def forget_expired_tokens(db: AsyncSession, user_id: UUID, now: datetime) -> None:
    """Forget the mailed tokens of a user that are not good any more."""
    theirs = col(MailedTokenRow.user_id) == user_id
    await db.execute(delete(MailedTokenRow).where(theirs, col(MailedTokenRow.expires_at) <= now))


async def begin_session(db: AsyncSession, user_id: UUID, refresh_token: str, now: datetime) -> UUID:
    """A new family with its first token. The user's families that have no token left to spend are forgotten."""
    tokens = select(col(RefreshTokenRow.sha256)).where(col(RefreshTokenRow.session_id) == col(SessionRow.id))
    alive = tokens.where(col(RefreshTokenRow.expires_at) > now).exists()
    await db.execute(delete(SessionRow).where(col(SessionRow.user_id) == user_id, ~alive))
    session_id = new_id()
    await db.execute(insert(SessionRow).values(id=session_id, user_id=user_id, started_at=now))
    await _add_token(db, session_id, refresh_token, now)
    return session_id


async def locked_family(db: AsyncSession, refresh_token: str) -> tuple[SessionRow, RefreshTokenRow] | None:
    """A token and its session, or None for a token that nobody knows. Until the transaction ends, nobody else spends a
    token of this family: the session is locked first and the token read afterwards."""
    known = col(RefreshTokenRow.sha256) == fingerprint(refresh_token)
    family = select(col(RefreshTokenRow.session_id)).where(known).scalar_subquery()
    session = await db.scalar(select(SessionRow).where(col(SessionRow.id) == family).with_for_update())
    token = await db.scalar(select(RefreshTokenRow).where(known)) if session else None
    return (session, token) if session and token else None


async def known_token(db: AsyncSession, candidates: Sequence[str]) -> str | None:
    """The first of these refresh tokens that was ever given out."""
    wanted = {fingerprint(token): token for token in candidates}
    known = await db.scalars(select(col(RefreshTokenRow.sha256)).where(col(RefreshTokenRow.sha256).in_(wanted)))
    return next((wanted[sha256] for sha256 in known), None)


async def owner(db: AsyncSession, session: SessionRow) -> UserRow:
    """Whose log-in it is."""
    return (await db.scalars(select(UserRow).where(col(UserRow.id) == session.user_id))).one()


async def rotate(db: AsyncSession, spent: RefreshTokenRow, successor: str, now: datetime) -> None:
    """Spend one token for its successor, and forget the tokens of the family that have expired."""
    family = col(RefreshTokenRow.session_id) == spent.session_id
    this = col(RefreshTokenRow.sha256) == spent.sha256
    await db.execute(update(RefreshTokenRow).where(this).values(spent_at=now))
    await db.execute(delete(RefreshTokenRow).where(family, col(RefreshTokenRow.expires_at) <= now))
    await _add_token(db, spent.session_id, successor, now)


async def end_session(db: AsyncSession, session_id: UUID | None, now: datetime) -> UUID | None:
    """None of the session's tokens can be spent from now on. Whose it was, if it had not ended before."""
    open_session = (col(SessionRow.id) == session_id, col(SessionRow.ended_at).is_(None))
    statement = update(SessionRow).where(*open_session).values(ended_at=now).returning(col(SessionRow.user_id))
    return await db.scalar(statement)


async def end_sessions(db: AsyncSession, user_id: UUID, now: datetime) -> None:
    """No refresh token of this user can be spent from now on."""
    open_sessions = (col(SessionRow.user_id) == user_id, col(SessionRow.ended_at).is_(None))
    await db.execute(update(SessionRow).where(*open_sessions).values(ended_at=now))


async def note_revocation(db: AsyncSession, subject: UUID, generation: int | None, now: datetime) -> None:
    """Remember what edges must know of that start within the lifetime of a token."""
    row = {"subject": subject, "generation": generation, "revoked_at": now}
    statement = insert(RevocationRow).values(row)
    await db.execute(statement.on_conflict_do_update(index_elements=["subject"], set_=row))


async def revocations_since(db: AsyncSession, moment: datetime) -> Sequence[RevocationRow]:
    """What was revoked after this moment."""
    return (await db.scalars(select(RevocationRow).where(col(RevocationRow.revoked_at) > moment))).all()


async def forget_revocations(db: AsyncSession, until: datetime) -> None:
    """Forget what was revoked before."""
    await db.execute(delete(RevocationRow).where(col(RevocationRow.revoked_at) <= until))


async def _add_token(db: AsyncSession, session_id: UUID, refresh_token: str, now: datetime) -> None:
    token = {"sha256": fingerprint(refresh_token), "session_id": session_id, "expires_at": now + REFRESH_LIFETIME}
    await db.execute(insert(RefreshTokenRow).values(token))
