"""How the tables of the users service came to be: one Alembic revision a step, under versions/."""
