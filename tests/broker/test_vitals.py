"""What a running service tells of itself, on real servers."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, Metric
from sqlalchemy import text

from broker.gauges import Gauges
from broker.reader import DatabaseAwayError, Reader
from tests.broker.diary import OPENED, diary
from tests.conftest import Start
from tests.support.counting import Counting
from tests.support.harness import Harness

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def harness(sharing: Start) -> AsyncIterator[Harness]:
    """A diary with a gauge of its own."""
    service = diary()

    @service.measures("diary_entries", "What was written down.", label="account")
    async def count_entries(reader: Reader) -> dict[str, float]:
        return {row[0]: row[1] for row in await reader.fetch("SELECT account, count(*) FROM diary GROUP BY account")}

    yield await sharing(service)


async def told(harness: Harness) -> dict[tuple[str, ...], float]:
    """The figures by name and label."""
    assert harness.service is not None
    registry = CollectorRegistry()
    registry.register(Gauges(harness.service.gauges))
    families: list[Metric] = await asyncio.to_thread(lambda: list(registry.collect()))
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


async def test_an_idle_service_has_nothing_waiting_and_all_its_connections(harness: Harness) -> None:
    figures = await told(harness)
    for name in ("lane_in_flight", "outbox_rows", "outbox_age_seconds", "parked_rows", "parked_age_seconds"):
        assert figures[f"hedgerow_{name}",] == 0
    assert {link for name, *rest in figures for link in rest if name == "hedgerow_broker_up"} == {
        "publishing",
        "requests",
        "queues",
    }
    assert figures["hedgerow_unconsumed_seconds", OPENED] < 60
    assert (figures["hedgerow_pool_size", "transactions"], figures["hedgerow_pool_size", "reads"]) == (10, 4)


async def test_what_waits_in_outbox_and_parking_place_is_told_with_its_age(harness: Harness) -> None:
    await harness.write(
        text(
            """INSERT INTO outbox (partition, aggregate, exchange, topic, headers, body, created_at, not_before)
            SELECT 0, 'a', 'events', 'diary.written.v1', '{}', '', now() - n * interval '1 min', now() + interval '1 h'
            FROM generate_series(5, 1, -1) n"""
        )
    )
    await harness.write(
        text(
            """INSERT INTO parked (source, aggregate, sequence, predecessor, queue, headers, body, parked_at)
            VALUES ('/tests', 'a', 2, 1, 'q', '{}', '', now() - interval '1 hour')"""
        )
    )
    try:
        figures = await told(harness)
        assert (figures["hedgerow_outbox_rows",], figures["hedgerow_parked_rows",]) == (5, 1)
        assert 300 <= figures["hedgerow_outbox_age_seconds",] < 360
        assert 3600 <= figures["hedgerow_parked_age_seconds",] < 3660
    finally:
        await harness.write(text("TRUNCATE outbox, parked"))


async def test_a_service_has_gauges_of_its_own(harness: Harness) -> None:
    await harness.write(text("INSERT INTO diary (account, number) VALUES ('mine', 1), ('mine', 2)"))
    assert (await told(harness))["diary_entries", "mine"] == 2


async def test_with_the_database_away_the_rest_is_told(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise DatabaseAwayError

    monkeypatch.setattr(Reader, "fetch", away)
    failures = Counting("hedgerow_gauge_failures_total", gauge="hedgerow_outbox_rows")
    figures = await told(harness)
    assert ("hedgerow_broker_up", "queues") in figures
    assert not {"hedgerow_outbox_rows", "hedgerow_outbox_age_seconds", "diary_entries"} & {name for name, *_ in figures}
    assert failures.more == 1
