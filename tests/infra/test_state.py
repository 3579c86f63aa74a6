"""What the launcher remembers, and what it says when it can't."""

import errno
import json
import os
import re
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from infra.launcher import services
from infra.launcher import state as state_module
from infra.launcher.failure import Failure
from infra.launcher.plugged_in import note_plugin, plugged_in
from infra.launcher.progress import Progress, shown
from infra.launcher.services import EDGE_SETTINGS, administrator, edge_port
from infra.launcher.signing import signing_key
from infra.launcher.state import REPOSITORY, State, any_free_port
from tests.infra.conftest import Launcher

pytestmark = pytest.mark.servers


def test_a_secret_stays_the_same_and_is_for_its_owner_only(state: State) -> None:
    first = state.secret("rabbitmq.users")
    assert State(state.folder).secret("rabbitmq.users") == first
    assert state.secret("rabbitmq.orders") != first
    assert stat.S_IMODE((state.folder / "secrets.json").stat().st_mode) == 0o600


def test_many_who_ask_at_once_get_the_same_secret(state: State) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: state.secret("shared"), range(32)))) == 1


def test_a_port_is_kept_while_it_is_free(state: State) -> None:
    port = state.port("postgresql")
    assert state.port("postgresql") == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert State(state.folder, running=True).port("postgresql") == port
        assert state.port("postgresql") != port


def test_nobody_is_given_the_port_of_somebody_who_is_about_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    first = any_free_port()
    monkeypatch.setattr(state_module, "_NOT_FOR_CLIENTS", range(first, first + 100))
    given = [first, *(any_free_port() for _ in range(10))]
    assert len(set(given)) == 11


def test_the_first_staff_user_and_the_signing_key_are_made_once(state: State) -> None:
    first = [path.read_text() for path in (administrator(state), signing_key(state))]
    assert [path.read_text() for path in (administrator(state), signing_key(state))] == first
    assert set(json.loads(first[0])) == {"email", "password"}
    assert {stat.S_IMODE((state.folder / name).stat().st_mode) for name in ("admin.json", "signing-key.pem")} == {0o600}


def test_a_taken_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("HEDGEROW_PORT", str(port))
        with pytest.raises(Failure, match=f"Port {port} is taken"):
            edge_port()


def test_a_port_for_the_administrator_is_not_called_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "why_not", lambda _: PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setenv("HEDGEROW_PORT", "80")
    with pytest.raises(Failure, match="Port 80 is for the administrator only"):
        edge_port()


@pytest.mark.parametrize("given", ["http", "0", "70000", "-1"])
def test_what_is_no_port_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDGEROW_PORT", given)
    with pytest.raises(Failure, match="no port number"):
        edge_port()


def test_the_edge_is_told_whatever_the_operator_sets_for_it() -> None:
    read = set(re.findall(r'"(HEDGEROW_\w+)"', (REPOSITORY / "edge_api" / "settings.py").read_text()))
    by_the_launcher = {f"HEDGEROW_{name}" for name in ("AMQP_URL", "PORT", "LISTEN_FD", "TRUSTED_LOGINS", "KEYS_LOGIN")}
    assert read - by_the_launcher == set(EDGE_SETTINGS)


def test_a_state_folder_that_cannot_be_used_is_one_sentence(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = launcher("up", HEDGEROW_STATE=str(tmp_path / "file" / "state"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "can't be used" in done.stderr


@pytest.mark.parametrize("command", ["up", "down"])
def test_what_cannot_be_used_below_it_is_one_sentence(command: str, launcher: Launcher, state: State) -> None:
    (state.folder / "launcher.pid").mkdir()
    done = launcher(command)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{state.folder}/launcher.pid can't be used" in done.stderr
    assert "stopped" not in done.stdout


def test_a_spoilt_file_is_named(launcher: Launcher, state: State) -> None:
    (state.folder / "runtime.json").write_text('{"edge": ')
    done = launcher("status")
    assert done.returncode == 1
    assert "runtime.json holds no valid JSON" in done.stderr


@pytest.mark.parametrize("command", ["status", "demo", "run", "logs"])
def test_without_a_platform_each_command_says_so(command: str, launcher: Launcher) -> None:
    extra = {"run": [__file__], "logs": ["users"]}.get(command, [])
    done = launcher(command, *extra)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("hedgerow: ")


def test_logs_without_a_name_says_which_there_are(launcher: Launcher, state: State) -> None:
    for name in ("users.log", "users.previous.log", "edge.log"):
        (state.logs / name).touch()
    done = launcher("logs")
    assert (done.returncode, done.stderr) == (1, "hedgerow: Which log? There is one of: edge, users.\n")


def test_run_without_a_file_says_what_to_give(launcher: Launcher) -> None:
    done = launcher("run")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "./justw run FILE" in done.stderr


def test_a_plug_in_is_known_for_as_long_as_it_lives(state: State) -> None:
    note_plugin(state, "sales", metrics=9)
    assert plugged_in(state) == [("sales", os.getpid(), 9)]
    state.write(f"plugins/{os.getpid()}.json", {"name": "an-earlier-one", "since": 1.0})
    assert plugged_in(state) == []


def test_a_narrow_terminal_shows_the_whole_of_every_line(state: State) -> None:
    screen = StringIO()
    told = Progress(state.logs / "launcher.log", Console(file=screen, force_terminal=True, color_system=None, width=40))
    path = "/a/folder/with/a/long/name/that/does/not/fit/admin.json"
    told.block("Ready", {"staff": f"{path} (email and password)"})
    told.say("A sentence of some words that is longer than this")
    *frame, first, second = screen.getvalue().splitlines()
    assert path in "".join(line.strip("│ ").removeprefix("staff").strip() for line in frame)
    assert (first.strip(), second.strip()) == ("A sentence of some words that is longer", "than this")


def test_a_path_is_shown_from_where_the_user_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDGEROW_CALLED_FROM", "/home/robin/shop")
    assert shown(Path("/home/robin/shop/.hedgerow/admin.json")) == ".hedgerow/admin.json"
    assert shown(Path("/srv/admin.json")) == "/srv/admin.json"
