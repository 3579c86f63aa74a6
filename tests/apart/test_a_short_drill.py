"""A short drill: 100 buyers want 25 pieces of one product, 32 at a time, while services and edge are killed, copies of
messages turn up, nonsense is written, the database ends its connections, and the gateway fails or keeps silent.

`just drill --all` does more, for longer, and to servers of its own.
"""

from collections.abc import Iterator

import pytest

from tests.drills.drill import Plan, drill
from tests.drills.faults.every import TOGETHER
from tests.drills.ground import SETTINGS
from tests.support.platform import Platform, on_shared_servers
from tests.support.servers import RealServers


@pytest.fixture(scope="module")
def platform(servers: RealServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform to be hurt."""
    with on_shared_servers(servers, tmp_path_factory.mktemp("drill"), settings=SETTINGS) as it:
        yield it


@pytest.mark.timeout(300)
async def test_exactly_twenty_five_are_sold_whatever_is_killed_copied_or_cut(platform: Platform) -> None:
    plan = Plan(7, TOGETHER, orders=120, scarce=25, buyers_of_it=100, sells_out=True, seconds=5)
    report = await drill(platform, plan)
    print(report)
    assert report.holds, str(report)
