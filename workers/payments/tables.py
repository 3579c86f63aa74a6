"""What the payments service keeps."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from broker.tables import NAMES
from workers.payments.rules import Goal, RefundStatus, Status


class PaymentsTable(SQLModel):
    """A table in the schema of this service."""

    metadata = MetaData(naming_convention=NAMES)


def _now() -> Any:
    return Field(sa_type=DateTime(timezone=True), sa_column_kwargs={"server_default": func.now()})


class PaymentRow(PaymentsTable, table=True):
    """The payment of an order: what is wanted of it and what the gateway has. One whose authorisation nobody asked for
    has no amount. At `check_at` the gateway is asked again, `checks` counts how often it was in vain; at
    `unknown_since` it was last asked for something with an unknown outcome."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("goal IN ('authorised', 'captured', 'nothing')", "goal"),
        CheckConstraint(
            "status IN ('pending', 'unknown', 'requires_action', 'authorised', 'captured', 'declined', 'failed',"
            " 'voided')",
            "status",
        ),
        CheckConstraint("amount >= 0 AND (amount IS NULL) = (currency IS NULL)", "amount"),
        Index("payments_check_at_idx", "check_at", postgresql_where=text("check_at IS NOT NULL")),
    )
    order_id: UUID = Field(primary_key=True)
    goal: Goal = Field(sa_column=Column(Text, nullable=False, server_default="authorised"))
    status: Status = Field(sa_column=Column(Text, nullable=False, server_default="pending"))
    amount: int | None = Field(default=None, sa_type=BigInteger)
    currency: str | None = Field(default=None, sa_type=Text)
    method: str | None = Field(default=None, sa_type=Text)
    gateway_id: str | None = Field(default=None, sa_type=Text)
    code: str | None = Field(default=None, sa_type=Text)
    captured: int = Field(sa_column=Column(BigInteger, nullable=False, server_default="0"))
    client_secret: str | None = Field(default=None, sa_type=Text)
    next_action: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    said: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False, server_default="{}"))
    unknown_since: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    checks: int = Field(sa_column_kwargs={"server_default": "0"})
    check_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    created_at: datetime = _now()
    updated_at: datetime = _now()


class WebhookRow(PaymentsTable, table=True):
    """That a gateway told something, so that it is heard once."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("webhooks_received_at_idx", "received_at"),)
    gateway: str = Field(sa_type=Text, primary_key=True)
    event_id: str = Field(sa_type=Text, primary_key=True)
    type: str = Field(sa_type=Text)
    order_id: UUID | None = None
    received_at: datetime = _now()


class ReconciliationRow(PaymentsTable, table=True):
    """Up to where a gateway's movements were compared with ours, and until when somebody is at it."""

    __tablename__ = "reconciliations"
    gateway: str = Field(sa_type=Text, primary_key=True)
    cursor: str | None = Field(default=None, sa_type=Text)
    claimed_until: datetime = Field(sa_type=DateTime(timezone=True))


class AuditRow(PaymentsTable, table=True):
    """A difference between our books and a gateway's, and what was done about it."""

    __tablename__ = "audits"
    __table_args__ = (
        Index("audits_open_key", "gateway", "gateway_id", "found", unique=True, postgresql_where=text("done IS NULL")),
    )
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    gateway: str = Field(sa_type=Text)
    gateway_id: str = Field(sa_type=Text)
    order_id: UUID | None = None
    found: str = Field(sa_type=Text)
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    done: str | None = Field(default=None, sa_type=Text)
    found_at: datetime = _now()
    done_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class RefundRow(PaymentsTable, table=True):
    """Money that goes back. One that no order `asked_for` is the rest of a payment for nothing."""

    __tablename__ = "refunds"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'unknown', 'refunded', 'failed')", "status"),
        CheckConstraint("amount > 0", "amount"),
        Index("refunds_order_id_idx", "order_id"),
    )
    refund_id: UUID = Field(primary_key=True)
    order_id: UUID = Field(sa_column=Column(ForeignKey("payments.order_id"), nullable=False))
    amount: int = Field(sa_type=BigInteger)
    status: RefundStatus = Field(sa_type=Text)
    code: str | None = Field(default=None, sa_type=Text)
    asked_for: bool
    created_at: datetime = _now()
    updated_at: datetime = _now()
