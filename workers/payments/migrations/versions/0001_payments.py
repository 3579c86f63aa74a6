"""Payments, one an order."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payments",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("order_id", name="payments_pkey"),
        sa.CheckConstraint(
            "status IN ('pending', 'authorised', 'captured', 'declined', 'failed', 'voided')",
            name="payments_status_check",
        ),
        sa.CheckConstraint("amount >= 0 AND (amount IS NULL) = (currency IS NULL)", name="payments_amount_check"),
        sa.CheckConstraint("amount IS NOT NULL OR status IN ('pending', 'voided')", name="payments_amount_known_check"),
    )


def downgrade() -> None:
    op.drop_table("payments")
