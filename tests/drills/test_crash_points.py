"""A crash point does nothing but look, until somebody asks for the crash."""

from pathlib import Path
from typing import Any

import pytest

from infra.launcher.program import STATE_MARK
from tests.drills import crash_points


@pytest.fixture
def deaths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often this process would have ended; it is the service of orders."""
    found: list[str] = []
    monkeypatch.setenv(STATE_MARK, str(tmp_path))
    monkeypatch.setattr(crash_points, "_service", "orders")
    monkeypatch.setattr(crash_points, "_die", lambda: found.append("dead"))
    (tmp_path / "crashes").mkdir()
    return found


@pytest.mark.parametrize("point", ["before-commit", "after-commit"])
async def test_it_crashes_once_where_it_is_asked_to(point: str, tmp_path: Path, deaths: list[str]) -> None:
    seen: list[tuple[str, int]] = []

    async def commit(what: str) -> str:
        seen.append((what, len(deaths)))
        return "done"

    around = crash_points._around("commit", commit)
    for someone_else in ("before-mark.orders", f"{point}.catalog"):
        (tmp_path / "crashes" / someone_else).touch()
    assert (await around("first"), deaths) == ("done", [])
    crash_points.place(tmp_path, point, "orders").touch()
    assert (await around("second"), deaths) == ("done", ["dead"])
    await around("third")
    assert [died for _, died in seen] == [0, 1 if point == "before-commit" else 0, 1]


async def test_commits_and_marks_are_told_from_other_statements(tmp_path: Path, deaths: list[str]) -> None:
    async def execute(connection: Any, statement: str, *arguments: Any) -> str:
        return statement

    around = crash_points._around_statements(execute)
    for point, statement in (("before-commit", "COMMIT"), ("after-mark", "DELETE FROM outbox WHERE id = ANY($1)")):
        crash_points.place(tmp_path, point, "orders").touch()
        before = len(deaths)
        await around(None, "SELECT 1")
        assert len(deaths) == before
        await around(None, statement)
        assert len(deaths) == before + 1
