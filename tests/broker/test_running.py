"""A service that runs."""

import asyncio
import os
import subprocess
import sys

import pytest

from broker.lane.wire.responder import WireResponder
from broker.relay import Relay
from broker.running import ToldToStopError, running
from broker.service import Service
from tests.broker.diary import diary
from tests.conftest import Start

pytestmark = pytest.mark.servers


async def _tell_to_stop(amqp: str, when: asyncio.Event) -> None:
    stop = asyncio.Event()

    async def serve() -> None:
        async with running(Service("leaver", version="1"), amqp_url=amqp, database_url=None, stop=stop):
            raise AssertionError("it serves although it was told to stop")

    serving = asyncio.create_task(serve())
    await asyncio.wait_for(when.wait(), 10)
    stop.set()
    with pytest.raises(ToldToStopError):
        await asyncio.wait_for(serving, 5)


async def test_who_is_told_to_stop_while_the_broker_is_away_does_not_wait_for_it() -> None:
    now = asyncio.Event()
    now.set()
    await _tell_to_stop("amqp://nobody:nothing@127.0.0.1:1/", now)


async def test_who_is_told_to_stop_while_its_links_are_set_up_leaves(
    amqp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up, left = asyncio.Event(), list[str]()

    async def hold(*_: object) -> None:
        set_up.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.append("left")

    monkeypatch.setattr(WireResponder, "_set_up_consuming", hold)
    await _tell_to_stop(amqp, set_up)
    assert left == ["left"]


async def test_an_instance_whose_relay_fails_does_not_go_on_without_it(
    running: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Relay) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Relay, "run_forever", fail)
    bench = await running(diary())
    assert bench.service is not None
    await asyncio.wait_for(bench.service.stuck.wait(), 5)


@pytest.mark.parametrize(
    ("variable", "address", "said"),
    [
        ("HEDGEROW_DATABASE_URL", "postgresql://nobody:wrong@127.0.0.1:1/nowhere", "is HEDGEROW_DATABASE_URL right?"),
        ("HEDGEROW_DATABASE_URL", "", "set HEDGEROW_DATABASE_URL"),
        ("HEDGEROW_AMQP_URL", "", "set HEDGEROW_AMQP_URL"),
        ("HEDGEROW_METRICS_PORT", "none", "HEDGEROW_METRICS_PORT is 'none', which is not a port"),
        ("HEDGEROW_LOGS_TCP", "nowhere", "HEDGEROW_LOGS_TCP is 'nowhere', which is no address"),
    ],
)
def test_a_service_that_can_not_start_says_why_in_one_sentence(
    amqp: str, database: str, variable: str, address: str, said: str
) -> None:
    environment = {**os.environ, "HEDGEROW_AMQP_URL": amqp, "HEDGEROW_DATABASE_URL": database, variable: address}
    environment = {name: value for name, value in environment.items() if value}
    ended = subprocess.run(
        [sys.executable, "-m", "workers.orders"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
