"""What tests of the broker room share: one diary a module, where each test has an account of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broker import topology
from tests.broker.diary import Bench, Pages, diary
from tests.conftest import QUICK_TIERS
from tests.support.harness import under_test


@pytest.fixture
def quick_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry tiers that a test can wait for, of use to services that start after."""
    monkeypatch.setattr(topology, "TIERS", QUICK_TIERS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_diary(shared_amqp: str, shared_database: str) -> AsyncIterator[Bench]:
    """A diary that runs for all tests of a module."""
    pages = Pages()
    async with under_test(diary(pages), amqp=shared_amqp, database=shared_database) as harness:
        yield Bench(harness, pages)


@pytest.fixture
def bench(shared_diary: Bench) -> Bench:
    """The module's diary, opened at a fresh account."""
    shared_diary.turn_the_page()
    return shared_diary
