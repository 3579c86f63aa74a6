"""The handshake of a connection (AMQP 0-9-1, 2.2.4), with a broker that is not always friendly."""

from typing import Any

import pytest
from pamqp import commands

from broker.lane.wire import connection
from broker.lane.wire.connection import ClosedByBrokerError, Wire
from broker.reconnecting import BrokerAwayError, LoginRefusedError
from tests.broker.lane.fake_broker import FakeBroker, wired

pytestmark = pytest.mark.usefixtures("no_complaints")


async def test_it_says_who_it_is_and_what_it_can_do(broker: FakeBroker) -> None:
    async with wired(broker):
        (start,), (opened,) = (
            await broker.has_heard(commands.Connection.StartOk),
            broker.all_of(commands.Connection.Open),
        )
    assert (start.mechanism, start.response) == ("PLAIN", "\0me\0secret")
    client: Any = start.client_properties
    assert (client["connection_name"], client["capabilities"]["connection.blocked"]) == ("tests", True)
    assert opened.virtual_host == "shop/one"


async def test_it_takes_the_smaller_of_what_both_sides_want(broker: FakeBroker) -> None:
    broker.answers["Connection.StartOk"] = lambda _: [commands.Connection.Tune(100, 4096, 3)]
    async with wired(broker):
        (tuned,) = broker.all_of(commands.Connection.TuneOk)
    assert (tuned.channel_max, tuned.frame_max, tuned.heartbeat) == (100, 4096, 3)


async def test_a_broker_that_wants_no_heartbeats_gets_ours(broker: FakeBroker) -> None:
    broker.answers["Connection.StartOk"] = lambda _: [commands.Connection.Tune(0, 0, 0)]
    async with wired(broker):
        (tuned,) = broker.all_of(commands.Connection.TuneOk)
    assert (tuned.frame_max, tuned.heartbeat) == (131_072, 10)


@pytest.mark.parametrize(
    ("method", "answer", "error"),
    [
        ("Connection.StartOk", commands.Connection.Close(403, "ACCESS_REFUSED", 0, 0), LoginRefusedError),
        ("Connection.Open", commands.Connection.Close(530, "no such vhost", 10, 40), LoginRefusedError),
        ("Connection.StartOk", commands.Connection.Close(320, "shutting down", 0, 0), ClosedByBrokerError),
        ("Connection.Open", commands.Connection.Close(541, "vhost is down", 10, 40), ClosedByBrokerError),
        ("Connection.StartOk", commands.Connection.Secure("more?"), BrokerAwayError),
        ("Connection.StartOk", commands.Channel.OpenOk(), BrokerAwayError),
    ],
)
async def test_a_broker_that_does_not_let_it_in_is_told_from_one_that_can_not_now(
    broker: FakeBroker, method: str, answer: Any, error: type[Exception]
) -> None:
    broker.answers[method] = lambda _: [answer]
    with pytest.raises(BrokerAwayError) as raised:
        await Wire.connect(broker.url, name="tests", lost=lambda: None)
    assert raised.type is error


async def test_a_login_of_a_kind_that_is_not_offered_is_refused(broker: FakeBroker) -> None:
    with pytest.raises(LoginRefusedError, match="EXTERNAL"):
        await Wire.connect(f"{broker.url}?auth=external", name="tests", lost=lambda: None)


@pytest.mark.parametrize(
    "greeting", [b"AMQP\0\0\x09\0", b"HTTP/1.1 400 Bad Request\r\n\r\n", commands.Connection.OpenOk()]
)
async def test_what_is_no_broker_of_this_protocol_is_away(broker: FakeBroker, greeting: Any) -> None:
    broker.greeting = [greeting]
    with pytest.raises(BrokerAwayError, match="broke the protocol"):
        await Wire.connect(broker.url, name="tests", lost=lambda: None)


@pytest.mark.parametrize("method", ["", "Connection.StartOk", "Connection.Open"])
async def test_a_broker_that_falls_silent_is_not_waited_for(
    broker: FakeBroker, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_WITHIN", 0.1)
    broker.answers[method] = lambda _: []
    broker.greeting = broker.greeting if method else []
    with pytest.raises(BrokerAwayError):
        await Wire.connect(broker.url, name="tests", lost=lambda: None)


async def test_a_broker_that_hangs_up_is_away(broker: FakeBroker) -> None:
    def hang_up(_: Any) -> list[Any]:
        broker.hang_up()
        return []

    broker.answers["Connection.StartOk"] = hang_up
    with pytest.raises(BrokerAwayError):
        await Wire.connect(broker.url, name="tests", lost=lambda: None)
