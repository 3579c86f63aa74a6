"""Mails about orders, whose address is found out when they are written."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("mails", "email", nullable=True)
    op.add_column("mails", sa.Column("news", JSONB))
    op.create_check_constraint("mails_recipient_check", "mails", "(email IS NULL) <> (news IS NULL)")


def downgrade() -> None:
    op.execute("DELETE FROM mails WHERE email IS NULL")
    op.drop_constraint("mails_recipient_check", "mails")
    op.drop_column("mails", "news")
    op.alter_column("mails", "email", nullable=False)
