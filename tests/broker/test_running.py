"""A service that runs."""

import asyncio
import os
import subprocess
import sys

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


@pytest.mark.parametrize(
    ("variable", "address", "said"),
    [
        ("HEDGEROW_DATABASE_URL", "postgresql://nobody:wrong@127.0.0.1:1/nowhere", "is HEDGEROW_DATABASE_URL right?"),
        ("HEDGEROW_DATABASE_URL", "", "set HEDGEROW_DATABASE_URL"),
        ("HEDGEROW_AMQP_URL", "", "set HEDGEROW_AMQP_URL"),
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
