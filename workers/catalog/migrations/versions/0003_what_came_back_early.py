"""What came back before it was known to be bought."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("reservations", sa.Column("returned", JSONB, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("reservations", "returned")
