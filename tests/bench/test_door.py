"""What is measured of the door is what its name says."""

from dataclasses import replace

import pytest

from tests.bench.sides.door import all_ways, costs
from tests.support.counting import Counting


async def test_each_way_to_ask_is_answered_as_it_should_be() -> None:
    ways = await all_ways()
    for way in ways.values():
        await way.check()
    assert costs(dict.fromkeys(ways, 1.0)).keys() == ways.keys() - {"no door"}


async def test_what_is_kept_is_not_asked_for() -> None:
    way, hits = (await all_ways())["GET from the edge's cache"], Counting("hedgerow_http_cached_total", outcome="hit")
    await way.check()
    assert hits.more == 1


async def test_a_wrong_answer_is_no_measurement() -> None:
    way = (await all_ways())["GET with a token"]
    with pytest.raises(AssertionError, match="401"):
        await replace(way, asked=replace(way.asked, token="")).check()
