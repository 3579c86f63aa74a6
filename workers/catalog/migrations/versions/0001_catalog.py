"""Products, stock, reservations and quotes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")
TIME = sa.DateTime(timezone=True)
SEARCHED = (
    "to_tsvector('simple', translate(sku || ' ' || name || ' ' || description, "
    r"""'!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', repeat(' ', 32)))"""
)


def upgrade() -> None:
    op.create_table(
        "categories",
        sa.Column("slug", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("slug", name="categories_pkey"),
    )
    op.create_table(
        "products",
        sa.Column("sku", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("category", KEY, nullable=False),
        sa.Column("price_amount", sa.BigInteger(), nullable=False),
        sa.Column("price_currency", sa.Text(), nullable=False),
        sa.Column("tax_class", sa.Text(), nullable=False),
        sa.Column("weight_grams", sa.BigInteger(), nullable=False),
        sa.Column("attributes", JSONB(), nullable=False),
        sa.Column("images", JSONB(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("search", TSVECTOR(), sa.Computed(SEARCHED, persisted=True), nullable=True),
        sa.PrimaryKeyConstraint("sku", name="products_pkey"),
        sa.ForeignKeyConstraint(["category"], ["categories.slug"], name="products_category_fkey"),
        sa.CheckConstraint("price_amount >= 0", name="products_price_amount_check"),
        sa.CheckConstraint("tax_class IN ('standard', 'reduced', 'zero')", name="products_tax_class_check"),
    )
    op.create_index("products_search_idx", "products", ["search"], postgresql_using="gin")
    op.create_index(
        "products_category_sku_idx", "products", ["category", "sku"], postgresql_where=sa.text("NOT archived")
    )
    op.create_table(
        "stock",
        sa.Column("sku", KEY, nullable=False),
        sa.Column("on_hand", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("sku", name="stock_pkey"),
        sa.ForeignKeyConstraint(["sku"], ["products.sku"], name="stock_sku_fkey"),
        sa.CheckConstraint("0 <= reserved AND reserved <= on_hand", name="stock_reserved_check"),
    )
    # Rows that change with every order need room beside them, or each change has to visit the index.
    op.execute("ALTER TABLE stock SET (fillfactor = 50)")
    op.create_table(
        "stock_movements",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sku", KEY, nullable=False),
        sa.Column("delta", sa.BigInteger(), nullable=False),
        sa.Column("on_hand", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("moved_by", sa.Uuid(), nullable=True),
        sa.Column("moved_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="stock_movements_pkey"),
        sa.ForeignKeyConstraint(["sku"], ["products.sku"], name="stock_movements_sku_fkey"),
    )
    op.create_index("stock_movements_sku_idx", "stock_movements", ["sku"])
    op.create_table(
        "reservations",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("items", JSONB(), nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("order_id", name="reservations_pkey"),
        sa.CheckConstraint(
            "state IN ('reserved', 'released', 'committed', 'refused')", name="reservations_state_check"
        ),
    )
    op.create_table(
        "quotes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("prices", JSONB(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="quotes_pkey"),
    )
    op.create_index("quotes_expires_at_idx", "quotes", ["expires_at"])


def downgrade() -> None:
    for table in ("quotes", "reservations", "stock_movements", "stock", "products", "categories"):
        op.drop_table(table)
