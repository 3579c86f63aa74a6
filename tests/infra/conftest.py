"""Fixtures of the launcher's tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from infra.launcher.leftovers import end_leftovers
from infra.launcher.state import REPOSITORY, State
from tests.support.servers import RealServers

Done = subprocess.CompletedProcess[str]


class Launcher(Protocol):
    """Runs one launcher command to its end."""

    def __call__(self, *arguments: str, **environment: str) -> Done: ...


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State(tmp_path / "state")
    yield made
    end_leftovers(made.folder)


@pytest.fixture
def given(servers: RealServers) -> dict[str, str]:
    """Servers that are there already."""
    return {
        "HEDGEROW_AMQP_URL": servers.amqp,
        "HEDGEROW_RABBITMQ_MANAGEMENT_URL": servers.rabbitmq_management,
        "HEDGEROW_DATABASE_URL": servers.database,
    }


@pytest.fixture
def launcher(state: State) -> Launcher:
    def run(*arguments: str, **environment: str) -> Done:
        command = [sys.executable, "-m", "infra.launcher", *arguments]
        known = {name: value for name, value in os.environ.items() if not name.startswith("HEDGEROW_")}
        known |= {"HEDGEROW_STATE": str(state.folder), "PYTHONPATH": str(REPOSITORY)} | environment
        return subprocess.run(command, cwd="/", env=known, capture_output=True, text=True, timeout=60)

    return run
