"""What a payment is to become, what went back of it, and when the gateway is asked again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_STATUSES = "'pending', 'authorised', 'captured', 'declined', 'failed', 'voided'"
_NEW = ("goal", "method", "captured", "client_secret", "next_action", "said", "unknown_since")


def upgrade() -> None:
    for column in (
        sa.Column("goal", sa.Text(), nullable=False, server_default="authorised"),
        sa.Column("method", sa.Text()),
        sa.Column("captured", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("client_secret", sa.Text()),
        sa.Column("next_action", JSONB()),
        sa.Column("said", sa.ARRAY(sa.Text()), nullable=False, server_default="{}"),
        sa.Column("unknown_since", _MOMENT),
        sa.Column("checks", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("check_at", _MOMENT),
    ):
        op.add_column("payments", column)
    op.alter_column("payments", "status", server_default="pending")
    op.drop_constraint("payments_amount_known_check", "payments")
    _allow(f"{_STATUSES}, 'unknown', 'requires_action'")
    op.create_check_constraint("payments_goal_check", "payments", "goal IN ('authorised', 'captured', 'nothing')")
    op.execute(_WHAT_WAS_KNOWN)
    op.create_index("payments_check_at_idx", "payments", ["check_at"], postgresql_where=sa.text("check_at IS NOT NULL"))
    op.create_table(
        "refunds",
        sa.Column("refund_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("asked_for", sa.Boolean(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", _MOMENT, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("refund_id", name="refunds_pkey"),
        sa.ForeignKeyConstraint(["order_id"], ["payments.order_id"], name="refunds_order_id_fkey"),
        sa.CheckConstraint("status IN ('pending', 'unknown', 'refunded', 'failed')", name="refunds_status_check"),
        sa.CheckConstraint("amount > 0", name="refunds_amount_check"),
    )
    op.create_index("refunds_order_id_idx", "refunds", ["order_id"])


_WHAT_WAS_KNOWN = """
UPDATE payments SET
    goal = CASE WHEN status IN ('captured', 'failed') THEN 'captured' WHEN status = 'voided' THEN 'nothing'
        ELSE 'authorised' END,
    captured = CASE WHEN status = 'captured' THEN amount ELSE 0 END,
    said = CASE status WHEN 'authorised' THEN ARRAY['authorised'] WHEN 'captured' THEN ARRAY['authorised', 'captured']
        WHEN 'failed' THEN ARRAY['authorised', 'capture_failed'] WHEN 'declined' THEN ARRAY['declined']
        WHEN 'voided' THEN ARRAY['voided'] ELSE '{}' END
"""


def downgrade() -> None:
    op.drop_table("refunds")
    op.drop_index("payments_check_at_idx", "payments")
    op.execute("UPDATE payments SET status = 'pending' WHERE status IN ('unknown', 'requires_action')")
    _allow(_STATUSES)
    known = "amount IS NOT NULL OR status IN ('pending', 'voided')"
    op.create_check_constraint("payments_amount_known_check", "payments", known)
    op.alter_column("payments", "status", server_default=None)
    for name in (*_NEW, "checks", "check_at"):
        op.drop_column("payments", name)


def _allow(statuses: str) -> None:
    op.drop_constraint("payments_status_check", "payments")
    op.create_check_constraint("payments_status_check", "payments", f"status IN ({statuses})")
