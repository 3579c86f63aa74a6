"""Mails that wait to be sent, and the tokens that were mailed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("email_verified_at", sa.DateTime(timezone=True)))
    op.create_table(
        "mailed_tokens",
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("mailed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("octet_length(sha256) = 32", name="mailed_tokens_sha256_check"),
        sa.PrimaryKeyConstraint("sha256", name="mailed_tokens_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="mailed_tokens_user_id_fkey", ondelete="CASCADE"),
    )
    op.create_index("mailed_tokens_user_id_idx", "mailed_tokens", ["user_id"])
    op.create_table(
        "mails",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="mails_pkey"),
    )
    op.create_index("mails_due_at_idx", "mails", ["due_at"])


def downgrade() -> None:
    op.drop_table("mails")
    op.drop_table("mailed_tokens")
    op.drop_column("users", "email_verified_at")
