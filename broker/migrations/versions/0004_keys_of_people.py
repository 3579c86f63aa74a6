"""The keys of people, who was erased, and whose answers are sealed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "person_keys",
        sa.Column("person", sa.Uuid, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("lookup", sa.LargeBinary),
        sa.PrimaryKeyConstraint("person", name="person_keys_pkey"),
        sa.UniqueConstraint("lookup", name="person_keys_lookup_key"),
    )
    op.create_table(
        "erasures",
        sa.Column("person", sa.Uuid, nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("person", name="erasures_pkey"),
    )
    op.add_column("answers", sa.Column("people", ARRAY(sa.Uuid), nullable=False, server_default="{}"))


def downgrade() -> None:
    op.execute("DELETE FROM answers WHERE people <> '{}'")
    op.drop_column("answers", "people")
    op.drop_table("erasures")
    op.drop_table("person_keys")
