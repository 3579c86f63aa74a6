"""`up` and `down` with servers that are there already: what a user sees and what is left afterwards."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from infra.launcher.leftovers import is_running, leftovers
from infra.launcher.lock import running_launcher
from infra.launcher.state import REPOSITORY, State, any_free_port
from tests.infra.conftest import Launcher

pytestmark = pytest.mark.servers


def test_detached_it_returns_when_ready_and_down_ends_it(
    launcher: Launcher, given: dict[str, str], state: State
) -> None:
    up = launcher("up", "--detach", "--servers-only", **given)
    assert (up.returncode, up.stderr) == (0, "")
    assert "Hedgerow is ready" in up.stdout
    assert state.read("runtime.json")["amqp"] == given["HEDGEROW_AMQP_URL"]
    pid = running_launcher(state)
    assert pid
    assert launcher("down").returncode == 0
    assert not is_running(pid)
    assert not (state.folder / "runtime.json").exists()
    again = launcher("down")
    assert (again.returncode, again.stdout) == (0, "Nothing is running here.\n")


def test_a_second_up_says_that_one_is_running(launcher: Launcher, given: dict[str, str]) -> None:
    launcher("up", "--detach", "--servers-only", **given)
    second = launcher("up", "--servers-only", **given)
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert "is running here already" in second.stderr
    assert launcher("up", "--detach", **given).returncode == 0
    launcher("down")


def test_a_killed_launcher_is_no_obstacle(launcher: Launcher, given: dict[str, str], state: State) -> None:
    launcher("up", "--detach", "--servers-only", **given)
    os.kill(running_launcher(state) or 0, signal.SIGKILL)
    assert launcher("up", "--detach", "--servers-only", **given).returncode == 0
    launcher("down")


def test_a_taken_port_stops_it_before_anything_is_started(launcher: Launcher, state: State) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments in (["up"], ["up", "--detach"]):
            done = launcher(*arguments, HEDGEROW_PORT=port)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert f"Port {port} is taken" in done.stderr
    assert leftovers(state.folder) == []


def test_a_broker_that_is_away_is_one_sentence(launcher: Launcher, given: dict[str, str]) -> None:
    away = given | {"HEDGEROW_DATABASE_URL": "postgresql://hedgerow@127.0.0.1:1/none"}
    done = launcher("up", HEDGEROW_PORT=free_port(), **away)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Everything is stopped" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_a_signal_ends_it_in_order(number: int, given: dict[str, str], state: State) -> None:
    environment = os.environ | given | {"HEDGEROW_STATE": str(state.folder), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "infra.launcher", "up", "--servers-only"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        while not (state.folder / "runtime.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Everything is stopped" in said
    assert running_launcher(state) is None


def free_port() -> str:
    return str(any_free_port())
