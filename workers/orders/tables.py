"""What the orders service keeps."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, LargeBinary, MetaData, Sequence, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from broker.tables import NAMES


class OrderTable(SQLModel):
    """A table in the schema of this service."""

    metadata = MetaData(naming_convention=NAMES)


NUMBERS = Sequence("order_numbers", start=100_001, metadata=OrderTable.metadata)
"""What people call an order."""


IN_THE_CLEAR = "num_nonnulls(email, shipping_address, billing_address) > 0 OR metadata <> '{}'"
"""Which orders tell who the customer is to whoever reads the table."""


class OrderRow(OrderTable, table=True):
    """An order with its history, a list of {status, at}. Lines and addresses stay as they were when it was placed; at
    `due_at` its saga stops waiting. `personal` is sealed (personal.py); `email`, the addresses and `metadata` stand
    there only where the release before this one wrote them."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("total > 0", name="total_positive"),
        Index("orders_customer_id_id_idx", "customer_id", "id"),
        Index("orders_status_id_idx", "status", "id"),
        Index("orders_in_the_clear_idx", "id", postgresql_where=text(IN_THE_CLEAR)),
        Index("orders_due_at_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    )

    id: UUID = Field(primary_key=True)
    number: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    customer_id: UUID | None = None
    status: str = Field(sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    lines: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    total: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    payment_method: str = Field(sa_type=Text)
    payment: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    personal: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    email: str | None = Field(default=None, sa_type=Text)
    shipping_address: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    billing_address: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    shipping_method: str | None = Field(default=None, sa_type=Text)
    details: dict[str, str] = Field(sa_column=Column("metadata", JSONB, nullable=False, server_default="{}"))
    token_hash: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    placed_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    history: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    shipments: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False, server_default="[]"))
    refunds: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False, server_default="[]"))
    due_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
