"""A service that runs."""

import asyncio

import pytest

from broker.relay import Relay
from tests.broker.diary import diary
from tests.conftest import Start

pytestmark = pytest.mark.servers


async def test_an_instance_whose_relay_fails_does_not_go_on_without_it(
    running: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Relay) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Relay, "run_forever", fail)
    bench = await running(diary())
    assert bench.service is not None
    await asyncio.wait_for(bench.service.stuck.wait(), 5)
