"""The release before runs on this one's tables while instances are replaced: migrations only add (CONTRIBUTING.md).

What old code would stumble over is refused, unless the revision says `CONTRACT = "why nobody uses it any more"`.
"""

import io
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from broker.migrate import PLATFORM

PACKAGES = (PLATFORM, *(f"workers.{service}.migrations" for service in ("catalog", "orders", "payments", "users")))
STUMBLES = {
    "takes a table or column away": re.compile(r"DROP (TABLE|COLUMN)"),
    "gives something another name": re.compile(r"\bRENAME\b"),
    "changes a column's type": re.compile(r"ALTER COLUMN \S+ TYPE"),
    "wants what old code does not write": re.compile(r"SET NOT NULL|ALTER COLUMN \S+ DROP DEFAULT"),
    "adds a column that old code does not fill": re.compile(r"ADD COLUMN (?!.*\bDEFAULT\b).*NOT NULL"),
}


def stumbles(upgrade: Callable[[], None]) -> list[str]:
    """What the release before would not survive, among the statements of an upgrade."""
    said = io.StringIO()
    options = {"as_sql": True, "output_buffer": said}
    context = MigrationContext.configure(dialect_name="postgresql", opts=options)
    with Operations.context(context):
        upgrade()
    statements = re.sub(r"\s+", " ", said.getvalue()).split(";")
    return [what for what, pattern in STUMBLES.items() if any(map(pattern.search, statements))]


def revisions() -> Iterator[tuple[str, ModuleType]]:
    for package in PACKAGES:
        for script in ScriptDirectory(str(files(package))).walk_revisions():
            yield f"{package} {Path(script.path).stem}", script.module


def test_every_migration_leaves_the_release_before_alive() -> None:
    found = {name: stumbles(module.upgrade) for name, module in revisions() if not getattr(module, "CONTRACT", "")}
    assert {name: what for name, what in found.items() if what} == {}
    assert len(found) > len(PACKAGES)


@pytest.mark.parametrize(
    ("upgrade", "what"),
    [
        (lambda: op.drop_column("orders", "note"), "takes a table or column away"),
        (lambda: op.drop_table("orders"), "takes a table or column away"),
        (lambda: op.alter_column("orders", "note", new_column_name="remark"), "gives something another name"),
        (lambda: op.rename_table("orders", "purchases"), "gives something another name"),
        (lambda: op.alter_column("orders", "total", type_=sa.BigInteger()), "changes a column's type"),
        (lambda: op.alter_column("orders", "note", nullable=False), "wants what old code does not write"),
        (
            lambda: op.add_column("orders", sa.Column("note", sa.Text, nullable=False)),
            "adds a column that old code does not fill",
        ),
    ],
)
def test_what_old_code_would_stumble_over_is_found(upgrade: Callable[[], None], what: str) -> None:
    assert stumbles(upgrade) == [what]


def test_what_only_adds_passes() -> None:
    def upgrade() -> None:
        op.add_column("orders", sa.Column("note", sa.Text, nullable=False, server_default=""))
        op.add_column("orders", sa.Column("remark", sa.Text))
        op.create_table("notes", sa.Column("note", sa.Text, nullable=False))

    assert stumbles(upgrade) == []
