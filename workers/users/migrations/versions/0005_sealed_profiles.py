"""Sealed profiles, and look-ups instead of addresses.

What stands there in the clear is sealed when the service starts (sealing.py): a migration has no master key.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("personal", sa.LargeBinary))
    for table, column in (("users", "email"), ("users", "name"), ("mailed_tokens", "email")):
        op.alter_column(table, column, nullable=True)
    for table in ("mailed_tokens", "mails"):
        op.add_column(table, sa.Column("lookup", sa.LargeBinary))
    op.drop_constraint("mails_recipient_check", "mails")
    op.create_check_constraint("mails_recipient_check", "mails", "num_nonnulls(email, lookup, news) = 1")


def downgrade() -> None:
    op.execute("DELETE FROM mails WHERE lookup IS NOT NULL")
    op.execute("DELETE FROM mailed_tokens WHERE lookup IS NOT NULL")
    op.execute("DELETE FROM users WHERE personal IS NOT NULL")
    op.drop_constraint("mails_recipient_check", "mails")
    op.create_check_constraint("mails_recipient_check", "mails", "(email IS NULL) <> (news IS NULL)")
    for table in ("mails", "mailed_tokens"):
        op.drop_column(table, "lookup")
    for table, column in (("mailed_tokens", "email"), ("users", "name"), ("users", "email")):
        op.alter_column(table, column, nullable=False)
    op.drop_column("users", "personal")
