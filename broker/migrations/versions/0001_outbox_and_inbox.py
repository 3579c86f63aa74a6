"""Outbox, inbox, order of aggregates, kept answers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("partition", sa.SmallInteger, nullable=False),
        sa.Column("aggregate", sa.Text, nullable=False),
        sa.Column("exchange", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("headers", JSONB, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        _moment("created_at"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("not_before", sa.DateTime(timezone=True)),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="outbox_pkey"),
    )
    op.create_index("outbox_partition_id_idx", "outbox", ["partition", "id"])
    op.create_index("outbox_aggregate_id_idx", "outbox", ["aggregate", "id"])
    op.create_table(
        "sequences",
        sa.Column("aggregate", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("topics", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("aggregate", name="sequences_pkey"),
    )
    op.create_table(
        "positions",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("aggregate", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("source", "aggregate", name="positions_pkey"),
    )
    op.create_table(
        "parked",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("aggregate", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("predecessor", sa.BigInteger, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("headers", JSONB, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        _moment("parked_at"),
        sa.PrimaryKeyConstraint("source", "aggregate", "sequence", name="parked_pkey"),
    )
    op.create_table(
        "inbox",
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        _moment("claimed_at"),
        sa.PrimaryKeyConstraint("queue", "message_id", name="inbox_pkey"),
    )
    op.create_index("inbox_claimed_at_idx", "inbox", ["claimed_at"])
    op.create_table(
        "subscriptions",
        sa.Column("topic", sa.Text, nullable=False),
        _moment("joined_at"),
        sa.PrimaryKeyConstraint("topic", name="subscriptions_pkey"),
    )
    op.create_table(
        "answers",
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        _moment("given_at"),
        sa.PrimaryKeyConstraint("key", name="answers_pkey"),
    )
    op.create_index("answers_given_at_idx", "answers", ["given_at"])


def downgrade() -> None:
    for table in ("answers", "subscriptions", "inbox", "parked", "positions", "sequences", "outbox"):
        op.drop_table(table)
