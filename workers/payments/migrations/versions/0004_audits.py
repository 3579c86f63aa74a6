"""Where the reconciliation stands, and what it found."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text()),
        sa.Column("claimed_until", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("gateway", name="reconciliations_pkey"),
    )
    op.create_table(
        "audits",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid()),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("done", sa.Text()),
        sa.Column("found_at", _MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("done_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="audits_pkey"),
    )
    op.create_index(
        "audits_open_key",
        "audits",
        ["gateway", "gateway_id", "found"],
        unique=True,
        postgresql_where=sa.text("done IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("audits")
    op.drop_table("reconciliations")
