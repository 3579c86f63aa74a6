"""Shipments, refunds, and when an order stops waiting."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("shipments", "refunds"):
        op.add_column("orders", sa.Column(name, JSONB, nullable=False, server_default="[]"))
    op.add_column("orders", sa.Column("due_at", sa.DateTime(timezone=True)))
    op.create_index("orders_due_at_idx", "orders", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("orders_due_at_idx", "orders")
    for name in ("due_at", "refunds", "shipments"):
        op.drop_column("orders", name)
