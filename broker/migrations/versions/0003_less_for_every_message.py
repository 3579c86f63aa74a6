"""Less to do for every message: an index of what waits only, and a note where an event was parked."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INDEX = "outbox_aggregate_id_idx"


def upgrade() -> None:
    op.drop_index(_INDEX, "outbox")
    op.create_index(_INDEX, "outbox", ["aggregate", "id"], postgresql_where=sa.text("not_before IS NOT NULL"))
    op.add_column("positions", sa.Column("waited_for", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute(
        "UPDATE positions SET waited_for = true"
        " FROM parked WHERE parked.source = positions.source AND parked.aggregate = positions.aggregate"
    )


def downgrade() -> None:
    op.drop_column("positions", "waited_for")
    op.drop_index(_INDEX, "outbox")
    op.create_index(_INDEX, "outbox", ["aggregate", "id"])
