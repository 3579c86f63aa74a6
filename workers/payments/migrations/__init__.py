"""How the table of the payments service came to be: one Alembic revision a step, under versions/."""
