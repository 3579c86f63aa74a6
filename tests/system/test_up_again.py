"""A platform that is stopped and started again, which leaves it as it was for the other tests."""

import httpx
import psutil
import pytest

from infra.launcher.leftovers import is_running, leftovers
from infra.launcher.lock import running_launcher
from infra.launcher.services import NAMES
from infra.launcher.state import is_free
from tests.support.platform import Platform


@pytest.mark.timeout(240)
def test_stopped_it_leaves_no_process_behind_and_started_again_it_is_ready_when_it_says_so(platform: Platform) -> None:
    stop(platform)
    start_again(platform)


def stop(platform: Platform) -> None:
    """Nothing is left that runs."""
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


def start_again(platform: Platform) -> None:
    """The routes are known at once, while the services are still on their way: it waits for them."""
    up = platform.launcher("up", "--detach")
    assert (up.returncode, up.stderr) == (0, "")
    assert "could not be added" not in up.stdout
    products = httpx.get(f"{platform.edge}/products?limit=1", timeout=10, trust_env=False)
    assert (products.status_code, len(products.json()["items"])) == (200, 1)
    assert platform.launcher("status").returncode == 0
