"""What the users service keeps."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, LargeBinary, MetaData, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from broker.tables import NAMES


class UsersTable(SQLModel):
    """A table in the schema of this service."""

    metadata = MetaData(naming_convention=NAMES)


class UserRow(UsersTable, table=True):
    """A person with an account; `personal` is a sealed Profile. `email`, `name` and `address` stand there only where
    the release before this one wrote them, until sealing.py does its work."""

    __tablename__ = "users"
    id: UUID = Field(primary_key=True)
    personal: bytes | None = Field(default=None, sa_type=LargeBinary, nullable=True)
    email: str | None = Field(default=None, sa_type=Text, unique=True, nullable=True)
    name: str | None = Field(default=None, sa_type=Text, nullable=True)
    password_hash: str = Field(sa_type=Text)
    roles: list[str] = Field(sa_type=ARRAY(Text))
    address: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True), nullable=True)
    email_verified_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True), nullable=True)
    suspended_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True), nullable=True)
    token_generation: int = 0
    """Access tokens of an earlier generation are void."""
    created_at: datetime = Field(sa_type=DateTime(timezone=True))


class SessionRow(UsersTable, table=True):
    """A log-in and the family of refresh tokens that descends from it. Its row lock guards the whole family."""

    __tablename__ = "sessions"
    id: UUID = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    started_at: datetime = Field(sa_type=DateTime(timezone=True))
    ended_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True), nullable=True)


class RefreshTokenRow(UsersTable, table=True):
    """A refresh token, by its SHA-256. A spent one stays until it expires, because to spend it again betrays theft."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (CheckConstraint("octet_length(sha256) = 32", name="sha256"),)
    sha256: bytes = Field(primary_key=True, sa_type=LargeBinary)
    session_id: UUID = Field(foreign_key="sessions.id", ondelete="CASCADE", index=True)
    expires_at: datetime = Field(sa_type=DateTime(timezone=True))
    spent_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True), nullable=True)


class RevocationRow(UsersTable, table=True):
    """Access tokens that are void before they expire: those of a session, or a user's of an earlier `generation`. Kept
    until they would have expired."""

    __tablename__ = "revocations"
    subject: UUID = Field(primary_key=True)
    """The session's id, or the user's where there is a generation."""
    generation: int | None = None
    revoked_at: datetime = Field(sa_type=DateTime(timezone=True), index=True)


class MailedTokenRow(UsersTable, table=True):
    """A token that was mailed to a user, by its SHA-256: whoever has it reads the mail of the address that is looked up
    by `lookup`. `email` is of the release before this one."""

    __tablename__ = "mailed_tokens"
    __table_args__ = (CheckConstraint("octet_length(sha256) = 32", name="sha256"),)
    sha256: bytes = Field(primary_key=True, sa_type=LargeBinary)
    kind: str = Field(sa_type=Text)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    email: str | None = Field(default=None, sa_type=Text, nullable=True)
    lookup: bytes | None = Field(default=None, sa_type=LargeBinary, nullable=True)
    mailed_at: datetime = Field(sa_type=DateTime(timezone=True))
    expires_at: datetime = Field(sa_type=DateTime(timezone=True))


class MailRow(UsersTable, table=True):
    """A mail that is not sent yet: to whoever is found by `lookup`, or with news of an order. It is written when it is
    sent, so that neither an address nor a token ever lies here. `email` is of the release before this one."""

    __tablename__ = "mails"
    __table_args__ = (CheckConstraint("num_nonnulls(email, lookup, news) = 1", name="recipient"),)
    id: UUID = Field(primary_key=True)
    kind: str = Field(sa_type=Text)
    email: str | None = Field(default=None, sa_type=Text, nullable=True)
    lookup: bytes | None = Field(default=None, sa_type=LargeBinary, nullable=True)
    news: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True), nullable=True)
    """The event, as JSON."""
    attempts: int = 0
    due_at: datetime = Field(sa_type=DateTime(timezone=True), index=True)
