"""Suspension, generations of access tokens, and those that were revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("suspended_at", sa.DateTime(timezone=True)))
    op.add_column("users", sa.Column("token_generation", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "revocations",
        sa.Column("subject", sa.Uuid, nullable=False),
        sa.Column("generation", sa.Integer),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="revocations_pkey"),
    )
    op.create_index("revocations_revoked_at_idx", "revocations", ["revoked_at"])


def downgrade() -> None:
    op.drop_table("revocations")
    op.drop_column("users", "token_generation")
    op.drop_column("users", "suspended_at")
