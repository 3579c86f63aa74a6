"""Private servers: as root in a folder of root's own, and as an ordinary user without anything installed."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.launcher import postgresql
from infra.launcher.failure import Failure
from infra.launcher.leftovers import end_leftovers, leftovers, wait_until
from infra.launcher.packages import can_unpack
from infra.launcher.postgresql import find_database
from infra.launcher.schemas import make_database
from infra.launcher.state import REPOSITORY, State
from tests.support.servers import skip_or_fail

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
_SCRIPT = """
import json, sys
from pathlib import Path
from infra.launcher.packages import unpack_rabbitmq
from infra.launcher.postgresql import find_database
from infra.launcher.rabbitmq import unpacked_node
from infra.launcher.schemas import make_database
from infra.launcher.state import State

state = State(Path(sys.argv[1]))
node, database = unpacked_node(state, state.folder / "packages"), find_database(state)
processes = [program.start() for program in (*node.programs, database.program)]
print(json.dumps({"status": node.rabbitmqctl("list_users"), "pids": [process.pid for process in processes]}))
processes[-1].send_signal(database.program.end_with)
for process in processes[:-1]:
    process.kill()  # RabbitMQ takes six seconds to stop
for process in processes:
    process.wait(30)
"""


@pytest.mark.servers
@as_root
def test_root_gets_a_database_although_only_root_may_enter_the_project(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Path(tempfile.mkdtemp())
    outside.chmod(0o755)
    monkeypatch.delenv("HEDGEROW_DATABASE_URL", raising=False)
    monkeypatch.setattr(postgresql, "_can_enter", lambda *_: False)
    monkeypatch.setattr(postgresql, "_outside", lambda: outside)
    database = find_database(state)
    assert database.program is not None
    process = database.program.start()
    assert make_database(database.url, "shop").endswith("/shop")
    process.send_signal(database.program.end_with)
    assert process.wait(10) == 0
    assert (state.folder / "postgresql").resolve().parent == outside
    shutil.rmtree(outside)


@pytest.fixture
def nobody() -> Iterator[tuple[Path, pwd.struct_passwd]]:
    account, folder = pwd.getpwnam("nobody"), Path(tempfile.mkdtemp())
    os.chown(folder, account.pw_uid, account.pw_gid)
    yield folder, account
    end_leftovers(folder)
    shutil.rmtree(folder)


@pytest.mark.servers
@pytest.mark.skipif(not can_unpack(), reason="not a kin of Debian")
@as_root
def test_an_ordinary_user_gets_both_servers_with_nothing_installed(
    nobody: tuple[Path, pwd.struct_passwd],
) -> None:
    folder, account = nobody
    command = [python_for(account), "-c", _SCRIPT, str(folder)]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), sysconfig.get_path("purelib")]),
    }
    identity = {"user": account.pw_uid, "group": account.pw_gid}
    done = subprocess.run(  # type: ignore[call-overload]
        command, cwd="/", env=environment, capture_output=True, text=True, extra_groups=[], timeout=110, **identity
    )
    if "could not be had from the distribution" in done.stderr:
        skip_or_fail(Failure("the distribution's packages can't be downloaded"))
    assert done.returncode == 0, done.stderr
    assert "hedgerow\t[administrator]" in json.loads(done.stdout)["status"]
    assert wait_until(lambda: leftovers(folder) == [], within=5)


def python_for(account: pwd.struct_passwd) -> str:
    """An interpreter of this version that the account may run; the environment's own often lies below /root."""
    same = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            command = [python, "-c", same]
            if subprocess.run(command, user=account.pw_uid, group=account.pw_gid, extra_groups=[]).returncode == 0:
                return python
        except OSError:
            continue
    pytest.skip("no Python that the ordinary user may run")
