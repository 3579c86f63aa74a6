"""The platform's own tables; every service has a set of them in its own schema, found through its role's search
path."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    Uuid,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

NAMES = {
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}
"""How constraints are named, here and in the services: as PostgreSQL does, so that migrations can name them too."""


class PlatformTable(SQLModel):
    """The metadata of the platform's tables."""

    metadata = MetaData(naming_convention=NAMES)


def _now() -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=False, server_default=func.now())


class OutboxRow(PlatformTable, table=True):
    """A message that is committed but not yet confirmed by the broker; then the row goes."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_partition_id_idx", "partition", "id"),
        Index("outbox_aggregate_id_idx", "aggregate", "id", postgresql_where=text("not_before IS NOT NULL")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    partition: int = Field(sa_column=Column(SmallInteger, nullable=False))
    aggregate: str = Field(sa_column=Column(Text, nullable=False))
    exchange: str = Field(sa_column=Column(Text, nullable=False))
    topic: str = Field(sa_column=Column(Text, nullable=False))
    headers: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime | None = Field(default=None, sa_column=_now())
    attempts: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    not_before: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    error: str | None = Field(default=None, sa_column=Column(Text))


class SequenceRow(PlatformTable, table=True):
    """The last sequence of an aggregate's events; `topics` has the last one and its time (ms) for each topic."""

    __tablename__ = "sequences"

    aggregate: str = Field(sa_column=Column(Text, primary_key=True))
    sequence: int = Field(sa_column=Column(BigInteger, nullable=False))
    topics: dict[str, list[int]] = Field(sa_column=Column(JSONB, nullable=False))


class PositionRow(PlatformTable, table=True):
    """The last sequence that this service applied of another's aggregate; whether an event was ever parked there."""

    __tablename__ = "positions"

    source: str = Field(sa_column=Column(Text, primary_key=True))
    aggregate: str = Field(sa_column=Column(Text, primary_key=True))
    sequence: int = Field(sa_column=Column(BigInteger, nullable=False))
    waited_for: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))


class ParkedRow(PlatformTable, table=True):
    """An event that came before its predecessor."""

    __tablename__ = "parked"

    source: str = Field(sa_column=Column(Text, primary_key=True))
    aggregate: str = Field(sa_column=Column(Text, primary_key=True))
    sequence: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    predecessor: int = Field(sa_column=Column(BigInteger, nullable=False))
    queue: str = Field(sa_column=Column(Text, nullable=False))
    headers: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    parked_at: datetime | None = Field(default=None, sa_column=_now())


class InboxRow(PlatformTable, table=True):
    """A message without a sequence that had its effect."""

    __tablename__ = "inbox"
    __table_args__ = (Index("inbox_claimed_at_idx", "claimed_at"),)

    queue: str = Field(sa_column=Column(Text, primary_key=True))
    message_id: str = Field(sa_column=Column(Text, primary_key=True))
    claimed_at: datetime | None = Field(default=None, sa_column=_now())


class SuspectRow(PlatformTable, table=True):
    """A message that was delivered again and again: `tries` counts how often the process ended while it was tried."""

    __tablename__ = "suspects"

    queue: str = Field(sa_column=Column(Text, primary_key=True))
    message_id: str = Field(sa_column=Column(Text, primary_key=True))
    tries: int = Field(sa_column=Column(Integer, nullable=False))
    since: datetime | None = Field(default=None, sa_column=_now())


class SubscriptionRow(PlatformTable, table=True):
    """Since when this service hears a topic: what was said before is not waited for."""

    __tablename__ = "subscriptions"

    topic: str = Field(sa_column=Column(Text, primary_key=True))
    joined_at: datetime | None = Field(default=None, sa_column=_now())


class AnswerRow(PlatformTable, table=True):
    """The answer to a write, kept so that asking again has no second effect. Key and fingerprint are hashes; the body
    is sealed under the keys of these `people`, one around the other."""

    __tablename__ = "answers"
    __table_args__ = (Index("answers_given_at_idx", "given_at"),)

    key: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    given_at: datetime | None = Field(default=None, sa_column=_now())
    people: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False, server_default="{}"))


class PersonKeyRow(PlatformTable, table=True):
    """The key of a person, wrapped by a master key, and what they are found by (broker/vault.py). Without this table,
    what is sealed in the others can't be read: it is backed up apart from them."""

    __tablename__ = "person_keys"

    person: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    wrapped: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    lookup: bytes | None = Field(default=None, sa_column=Column(LargeBinary, unique=True))


class ErasureRow(PlatformTable, table=True):
    """Whose key was destroyed: a restored copy of the other tables is to destroy it again."""

    __tablename__ = "erasures"

    person: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    erased_at: datetime | None = Field(default=None, sa_column=_now())
