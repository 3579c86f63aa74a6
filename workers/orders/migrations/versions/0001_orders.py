"""Orders."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("order_numbers", start=100_001)))
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Uuid),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("lines", JSONB, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("payment_method", sa.Text, nullable=False),
        sa.Column("payment", JSONB, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("shipping_address", JSONB),
        sa.Column("billing_address", JSONB),
        sa.Column("shipping_method", sa.Text),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("token_hash", sa.LargeBinary),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("history", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name="orders_pkey"),
        sa.UniqueConstraint("number", name="orders_number_key"),
        sa.CheckConstraint("total > 0", name="orders_total_positive_check"),
    )
    op.create_index("orders_customer_id_id_idx", "orders", ["customer_id", "id"])
    op.create_index("orders_status_id_idx", "orders", ["status", "id"])


def downgrade() -> None:
    op.drop_table("orders")
    op.execute(sa.schema.DropSequence(sa.Sequence("order_numbers")))
