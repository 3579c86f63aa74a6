"""How the tables of the catalog service came to be: one Alembic revision a step, under versions/."""
