"""A platform that is started again: its routes are known at once, while its services are still on their way."""

import httpx
import pytest

from tests.support.servers import RealServers
from tests.system.conftest import on_shared_servers


@pytest.mark.timeout(240)
def test_started_again_it_is_ready_when_it_says_so(
    servers: RealServers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with on_shared_servers(servers, tmp_path_factory.mktemp("again")) as platform:
        for _ in range(2):
            assert platform.launcher("down").returncode == 0
            up = platform.launcher("up", "--detach")
            assert (up.returncode, up.stderr) == (0, "")
            assert "could not be added" not in up.stdout
            products = httpx.get(f"{platform.edge}/products?limit=1", timeout=10, trust_env=False)
            assert (products.status_code, len(products.json()["items"])) == (200, 1)
            assert platform.launcher("status").returncode == 0
