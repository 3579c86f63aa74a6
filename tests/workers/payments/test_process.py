"""The service as a process of its own: started as operators start it, killed at the worst moment."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys

import pytest

from broker.ids import new_id
from broker.outbox import Origin, envelope
from broker.publisher import PublishRefusedError
from broker.reconnecting import BrokerAwayError
from contracts.base import Money
from contracts.payments import AuthorisePayment, CapturePayment, PaymentAuthorised, PaymentCaptured
from tests.support.eventually import eventually
from tests.support.harness import harness
from tests.support.sandbox import KEY, Sandbox

pytestmark = pytest.mark.servers

COMMAND = (sys.executable, "-m", "workers.payments")


def start(amqp: str, database: str, sandbox: Sandbox) -> subprocess.Popen[bytes]:
    settings = {
        "HEDGEROW_AMQP_URL": amqp,
        "HEDGEROW_DATABASE_URL": database,
        "HEDGEROW_GATEWAY_URL": sandbox.url,
        "HEDGEROW_GATEWAY_KEY": KEY,
    }
    return subprocess.Popen(COMMAND, env=os.environ | settings, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@pytest.mark.servers
async def test_killed_while_it_waits_for_the_gateway_it_holds_and_takes_the_money_once(
    amqp: str, database: str, sandbox: Sandbox
) -> None:
    command = AuthorisePayment(
        order_id=new_id(), amount=Money(amount=1999, currency="EUR"), payment_method="pm_sandbox_timeout_after"
    )
    reference, headers = str(command.order_id), envelope("tests", command, Origin("test"))

    async def is_held() -> bool:
        return sandbox.kinds(reference) == ["authorised"]

    async with harness(amqp) as bench:

        async def is_accepted() -> bool:
            with contextlib.suppress(PublishRefusedError, BrokerAwayError):
                return bool(await bench.send(command, headers=headers))
            return False

        first = start(amqp, database, sandbox)
        await eventually(is_accepted, within=30)
        await eventually(is_held, within=10)
        first.kill()
        second = start(amqp, database, sandbox)
        try:
            assert (await bench.heard(PaymentAuthorised, within=30)).order_id == command.order_id
            await bench.send(CapturePayment(order_id=command.order_id))
            await bench.heard(PaymentCaptured)
            assert sandbox.kinds(reference) == ["authorised", "captured"]
        finally:
            first.wait()
            second.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(second.wait, 20) == 0


@pytest.mark.parametrize("nonsense", ["soon", "-1", "nan", "86401"])
def test_with_a_nonsensical_patience_it_ends_with_one_sentence(nonsense: str) -> None:
    settings = {"HEDGEROW_GATEWAY_URL": "http://127.0.0.1:1", "HEDGEROW_GATEWAY_KEY": KEY}
    settings["HEDGEROW_GATEWAY_QUIET_AFTER"] = nonsense
    ended = subprocess.run(COMMAND, env=os.environ | settings, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith(f"HEDGEROW_GATEWAY_QUIET_AFTER is '{nonsense}'")


@pytest.mark.parametrize("missing", ["HEDGEROW_GATEWAY_URL", "HEDGEROW_GATEWAY_KEY"])
def test_without_a_setting_it_ends_with_one_sentence(missing: str) -> None:
    settings = {"HEDGEROW_GATEWAY_URL": "http://127.0.0.1:1", "HEDGEROW_GATEWAY_KEY": KEY}
    del settings[missing]
    known = {name: value for name, value in os.environ.items() if name != missing}
    ended = subprocess.run(COMMAND, env=known | settings, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{missing} is not set")
    assert ended.stderr.count("\n") == 1


def test_with_a_live_key_beside_a_drill_it_ends_with_one_sentence() -> None:
    settings = {"HEDGEROW_GATEWAY": "stripe", "HEDGEROW_GATEWAY_KEY": "sk_live_51Abc", "HEDGEROW_DRILL": "yes"}
    ended = subprocess.run(COMMAND, env=os.environ | settings, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith("HEDGEROW_GATEWAY_KEY is a live key of Stripe's, and HEDGEROW_DRILL is set")
    assert "51Abc" not in ended.stderr
