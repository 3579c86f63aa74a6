"""A service that runs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import aio_pika
import pytest

from broker import topology
from broker.lane.wire.responder import WireResponder
from broker.permitted import find_out
from broker.reconnecting import LoginRefusedError
from broker.relay import Relay
from broker.running import ToldToStopError, running
from broker.service import Service
from broker.shared import ensure
from contracts.base import Command, Event
from infra.launcher.management import Management
from infra.launcher.provision import give_login, login_for, vhost_of, with_login
from infra.launcher.rights import WITH_EVERYBODY, Dealings, Rights, rights_to
from tests.broker.diary import diary
from tests.conftest import Start
from tests.support.servers import RealServers

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


class Told(Event):
    """Another's."""

    topic = "gossip.told.v1"
    subject = "about"
    about: str


class Tell(Command):
    """To another."""

    topic = "gossip.tell.v1"
    subject = "about"
    about: str


def commands_another() -> Service:
    return Service("teller", version="1", says=(Tell,))


def hears_another_s() -> Service:
    service = Service("teller", version="1")

    @service.hears(Told)
    async def listen(told: Told) -> None:
        raise AssertionError("it hears although it may not")

    return service


@pytest.mark.parametrize("made", [commands_another, hears_another_s])
async def test_a_service_that_may_not_do_what_it_is_going_to_does_not_start(
    servers: RealServers, amqp: str, made: Callable[[], Service]
) -> None:
    limited = await login_with(servers, amqp, rights_to("teller", Dealings()))
    with pytest.raises(LoginRefusedError, match=r"may not do this: .*gossip\.(told|tell)\.v1"):
        async with running(made(), amqp_url=limited, database_url=None):
            raise AssertionError("it serves although it may not")


async def test_what_is_withheld_is_said_in_one_sentence(servers: RealServers, amqp: str) -> None:
    limited = await login_with(servers, amqp, rights_to("teller", Dealings()))
    program = "from tests.broker.test_running import commands_another; commands_another().run()"
    environment = {**os.environ, "HEDGEROW_AMQP_URL": limited}
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 1
    assert "gossip.tell.v1" in (sentence := ended.stderr.splitlines()[-1])
    assert "It needs a login of its own name with the rights" in sentence
    assert "Traceback" not in ended.stderr + ended.stdout


@pytest.mark.parametrize("exchange", ["presence", "retries", "returns", "dead-letters"])
async def test_nor_does_one_that_lacks_what_every_service_needs(servers: RealServers, amqp: str, exchange: str) -> None:
    rights = rights_to("teller", WITH_EVERYBODY)
    less = replace(rights, topics={**rights.topics, exchange: ("^$", rights.topics[exchange][1])})
    limited = await login_with(servers, amqp, less)
    with pytest.raises(LoginRefusedError, match=f"in exchange '{exchange}'"):
        async with running(hears_another_s(), amqp_url=limited, database_url=None):
            raise AssertionError("it serves although it may not")


async def test_to_find_out_what_may_be_said_says_nothing(amqp: str) -> None:
    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        await ensure(connection)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.COMMANDS, "#")
        await find_out(commands_another().manifest(), connection)
        await (await channel.get_exchange(topology.COMMANDS)).publish(aio_pika.Message(b"known"), Tell.topic)
        assert (await queue.get(timeout=5)).body == b"known"


async def login_with(servers: RealServers, amqp: str, rights: Rights) -> str:
    login = login_for(amqp, "teller")
    async with await aio_pika.connect(amqp) as connection:
        await ensure(connection)
    with Management(servers.rabbitmq_management) as management:
        give_login(management, login, "secret", vhost=vhost_of(amqp), rights=rights)
    return with_login(amqp, login, "secret")


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
        [sys.executable, "-m", "workers.catalog"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
