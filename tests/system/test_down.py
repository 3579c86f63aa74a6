"""What is left of a platform that was stopped: nothing that runs."""

import psutil
import pytest

from infra.launcher.leftovers import is_running, leftovers
from infra.launcher.lock import running_launcher
from infra.launcher.services import NAMES
from infra.launcher.state import is_free
from tests.support.servers import RealServers
from tests.system.conftest import on_shared_servers


def test_down_leaves_no_process_behind(servers: RealServers, tmp_path_factory: pytest.TempPathFactory) -> None:
    with on_shared_servers(servers, tmp_path_factory.mktemp("down")) as platform:
        launcher, named = running_launcher(platform.state), platform.pids
        assert launcher is not None
        assert set(named) == set(NAMES)
        children = {child.pid for child in psutil.Process(launcher).children(recursive=True)}
        assert children >= set(named.values())
        down = platform.launcher("down")
        assert (down.returncode, down.stderr) == (0, "")
        assert [pid for pid in (launcher, *children) if is_running(pid)] == []
        assert leftovers(platform.state.folder) == []
        assert is_free(platform.port)
        assert platform.state.read("runtime.json") == {}
        assert platform.launcher("status").returncode == 1
