"""A shop behind an edge without a broker."""

from collections.abc import AsyncIterator

import pytest

from tests.edge_api.world import World, offer


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """An edge with a shop behind it."""
    world = World()
    world.present(
        "shop",
        offer("shop.get-thing.v1", "GET", "/things/{id}"),
        offer("shop.get-best.v1", "GET", "/things/best"),
        offer("shop.find-things.v1", "GET", "/things", query=("q", "limit")),
        offer("shop.add-thing.v1", "POST", "/things", status=201),
        offer("shop.end-thing.v1", "DELETE", "/things/{id}", status=204),
        offer("shop.get-mine.v1", "GET", "/mine", who="user"),
        offer("shop.get-books.v1", "GET", "/books", who="staff"),
        offer("shop.get-oven.v1", "GET", "/oven", who="user", roles=("baker", "cook")),
    )
    async with world.client:
        yield world
