"""Connections that come back."""

import asyncio
import time

import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from yarl import URL

from broker.connection import Link, tuned
from broker.reconnecting import HEARTBEAT_SECONDS, BrokerAwayError, LoginRefusedError, login_of
from tests.support.cuts import cut_connections, cuttable
from tests.support.eventually import eventually
from tests.support.servers import RealServers


def test_a_dead_peer_is_noticed_soon_unless_the_address_says_otherwise() -> None:
    assert URL(tuned("amqp://host/")).query["heartbeat"] == str(HEARTBEAT_SECONDS)
    assert URL(tuned("amqp://host/?heartbeat=3")).query["heartbeat"] == "3"


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("amqp://users:secret@host/", "users"),
        ("amqp://users%40shop:secret@host/shop", "users@shop"),
        ("amqp://host/", "guest"),
    ],
)
def test_the_login_is_what_the_address_says(url: str, login: str) -> None:
    assert login_of(url) == login


async def test_waiting_for_a_broker_that_is_away_ends() -> None:
    link = Link("amqp://nobody:nothing@127.0.0.1:1/", name="nowhere")
    await link.start()
    with pytest.raises(BrokerAwayError):
        await link.wait_up(within=0.1)
    await link.close()


@pytest.mark.servers
async def test_a_login_that_the_broker_refuses_is_told_so_at_once(amqp: str) -> None:
    link = Link(str(URL(amqp).with_password("wrong")), name="stranger")
    await link.start()
    with pytest.raises(LoginRefusedError, match="may not do this"):
        await link.wait_up(within=30)
    await link.close()


async def _ignore(_: AbstractIncomingMessage) -> None:
    """Takes a message and does nothing."""


@pytest.mark.servers
class TestOnABroker:
    """With a broker that is there, and one that goes."""

    async def test_setups_run_in_order_before_it_is_up(self, amqp: str) -> None:
        link, order = Link(amqp, name="tests"), list[str]()

        async def first(_: AbstractConnection) -> None:
            await asyncio.sleep(0.01)
            order.append(f"first, up: {link.is_up}")

        async def second(_: AbstractConnection) -> None:
            order.append(f"second, up: {link.is_up}")

        link.on_connect(first)
        link.on_connect(second)
        await link.start()
        await link.wait_up(within=5)
        await link.close()
        assert order == ["first, up: False", "second, up: False"]

    async def test_a_setup_that_fails_is_tried_again(self, amqp: str) -> None:
        link, tries = Link(amqp, name="tests"), list[float]()

        async def fail_twice(_: AbstractConnection) -> None:
            tries.append(time.monotonic())
            if len(tries) < 3:
                raise OSError

        link.on_connect(fail_twice)
        await link.start()
        await link.wait_up(within=5)
        await link.close()
        assert len(tries) == 3

    async def test_after_a_cut_it_says_so_and_connects_again(self, amqp: str, servers: RealServers) -> None:
        amqp = cuttable(servers, amqp)
        link, story = Link(amqp, name="tests"), list[str]()

        async def connected(_: AbstractConnection) -> None:
            story.append("connected")

        link.on_connect(connected)
        link.on_loss(lambda: story.append("lost"))
        await link.start()
        await link.wait_up(within=5)
        cut_connections(servers, amqp)

        async def back() -> bool:
            return story == ["connected", "lost", "connected"] and link.is_up

        await eventually(back)
        await link.close()
        assert story[-1] == "lost"
        assert not link.is_up

    async def test_a_channel_that_the_broker_closes_costs_the_connection(self, amqp: str) -> None:
        link, channels = Link(amqp, name="tests"), list[AbstractChannel]()

        async def set_up(connection: AbstractConnection) -> None:
            channels.append(await link.channel(connection))

        link.on_connect(set_up)
        await link.start()
        await link.wait_up(within=5)
        with pytest.raises((AMQPError, RuntimeError)):
            await channels[0].declare_queue("not-there", passive=True)

        async def back() -> bool:
            return len(channels) == 2 and link.is_up

        await eventually(back)
        await link.close()

    async def test_a_consumer_that_the_broker_cancels_costs_the_connection(self, amqp: str) -> None:
        link, set_ups = Link(amqp, name="tests"), list[AbstractChannel]()

        async def set_up(connection: AbstractConnection) -> None:
            channel = await link.channel(connection)
            queue = await channel.declare_queue("tests", durable=True)
            await queue.consume(_ignore)
            set_ups.append(channel)

        link.on_connect(set_up)
        await link.start()
        await link.wait_up(within=5)
        await set_ups[0].queue_delete("tests")

        async def back() -> bool:
            return len(set_ups) == 2 and link.is_up

        await eventually(back)
        await link.close()

    async def test_a_link_that_is_closed_stays_closed(self, amqp: str) -> None:
        link = Link(amqp, name="tests")
        await link.start()
        await link.wait_up(within=5)
        await link.close()
        with pytest.raises(BrokerAwayError):
            await link.wait_up(within=0.3)
