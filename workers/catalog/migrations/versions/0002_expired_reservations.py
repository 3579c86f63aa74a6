"""Reservations that expire."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_CHECK = "reservations_state_check"
_INDEX = "reservations_expires_at_idx"


def upgrade() -> None:
    _allow("'reserved', 'released', 'expired', 'committed', 'refused'")
    op.create_index(_INDEX, "reservations", ["expires_at"], postgresql_where=sa.text("state = 'reserved'"))


def downgrade() -> None:
    op.drop_index(_INDEX, "reservations")
    op.execute("UPDATE reservations SET state = 'released' WHERE state = 'expired'")
    _allow("'reserved', 'released', 'committed', 'refused'")


def _allow(states: str) -> None:
    op.drop_constraint(_CHECK, "reservations")
    op.create_check_constraint(_CHECK, "reservations", f"state IN ({states})")
