"""docs/security.md keeps its word: it has every row, and the tests that it names are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.launcher.state import REPOSITORY

PAGE = (REPOSITORY / "docs" / "security.md").read_text()
SECTIONS = PAGE.split("\n## ")[1:]
OUTSIDE = {"aiohttp", "ftplib", "http.client", "httpx", "requests", "smtplib", "stripe", "urllib.request", "urllib3"}
"""What one speaks to the world with; AMQP and SQL have addresses that no client knows of."""
MAY_SPEAK = {"workers/payments/sandbox.py", "workers/users/post.py"}


def test_every_row_has_a_section_in_its_order() -> None:
    assert [section.partition(":")[0] for section in SECTIONS] == [f"API{number}" for number in range(1, 11)]


@pytest.mark.parametrize("section", SECTIONS, ids=[section.partition(":")[0] for section in SECTIONS])
def test_every_row_says_what_stops_it_and_names_tests_that_exist(section: str) -> None:
    _, said, attacks = section.split("\n\n", 2)
    named = re.findall(r"^- `(tests/[\w/]+\.py)::(\w+)`", attacks, re.MULTILINE)
    assert said.strip()
    assert len(named) == attacks.count("\n- ") + 1
    assert [name for file, name in named if name not in names_in(REPOSITORY / file)] == []


def names_in(file: Path) -> set[str]:
    """Of its functions."""
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_only_who_must_speaks_to_the_outside() -> None:
    """No service fetches what a client names, because none could."""
    files = [
        file for room in ("broker", "contracts", "edge_api", "workers") for file in (REPOSITORY / room).rglob("*.py")
    ]
    assert len(files) > 100
    speaking = {str(file.relative_to(REPOSITORY)) for file in files if OUTSIDE & set(imported(file))}
    assert {file for file in speaking if not file.startswith("workers/payments/stripe/")} == MAY_SPEAK


def imported(file: Path) -> Iterator[str]:
    """What it imports, by whole names and by packages."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            within = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for name in (f"{within}{alias.name}" for alias in node.names):
                yield from (name, name.partition(".")[0], name.rpartition(".")[0])
