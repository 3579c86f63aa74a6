"""What the payments service keeps."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, MetaData, Text, func
from sqlmodel import Field, SQLModel

from broker.tables import NAMES
from workers.payments.rules import Status


class PaymentsTable(SQLModel):
    """A table in the schema of this service."""

    metadata = MetaData(naming_convention=NAMES)


class PaymentRow(PaymentsTable, table=True):
    """The payment of an order. One that was voided before it was authorised has no amount."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'authorised', 'captured', 'declined', 'failed', 'voided')", "status"),
        CheckConstraint("amount >= 0 AND (amount IS NULL) = (currency IS NULL)", "amount"),
        CheckConstraint("amount IS NOT NULL OR status IN ('pending', 'voided')", "amount_known"),
    )
    order_id: UUID = Field(primary_key=True)
    gateway_id: str | None = Field(default=None, sa_type=Text, nullable=True)
    amount: int | None = Field(default=None, sa_type=BigInteger, nullable=True)
    currency: str | None = Field(default=None, sa_type=Text, nullable=True)
    status: Status = Field(sa_type=Text)
    code: str | None = Field(default=None, sa_type=Text, nullable=True)
    created_at: datetime = Field(sa_type=DateTime(timezone=True), sa_column_kwargs={"server_default": func.now()})
    updated_at: datetime = Field(sa_type=DateTime(timezone=True), sa_column_kwargs={"server_default": func.now()})
