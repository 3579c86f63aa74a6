"""What a service's accounts may do, and what not."""

from dataclasses import replace

import aio_pika
import asyncpg
import pytest
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError

from broker import topology
from broker.connection import declare
from broker.shared import ensure
from infra.launcher.failure import Failure
from infra.launcher.management import Management
from infra.launcher.provision import (
    Credentials,
    Servers,
    login_for,
    login_of,
    provision_login,
    provision_platform,
    provision_service,
    vhost_of,
    with_login,
)
from infra.launcher.state import State
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def place(servers: RealServers, shared_amqp: str, shared_database: str) -> Servers:
    found = Servers(shared_amqp, servers.rabbitmq_management, shared_database)
    provision_platform(found)
    return found


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> State:
    return State(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def orders(state: State, place: Servers) -> Credentials:
    return provision_service(state, place, "orders")


def test_accounts_stay_the_same_at_each_start(state: State, place: Servers, orders: Credentials) -> None:
    assert provision_service(state, place, "orders") == orders


async def test_a_service_uses_the_platform_s_exchanges_and_its_own_queues(orders: Credentials) -> None:
    async with await aio_pika.connect(orders.amqp_url) as connection:
        channel = await connection.channel()
        events = await channel.get_exchange("events")
        queue = await channel.declare_queue("orders.order-placed", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(events, "orders.#")
        await events.publish(aio_pika.Message(b"{}"), "orders.order-placed.v1")
        assert await queue.get(timeout=5)


async def test_a_service_cannot_write_to_queues_past_the_exchanges(orders: Credentials) -> None:
    async with await aio_pika.connect(orders.amqp_url) as connection:
        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await channel.default_exchange.publish(aio_pika.Message(b"{}"), "users.requests")


async def test_a_service_cannot_declare_another_s_queue(orders: Credentials) -> None:
    async with await aio_pika.connect(orders.amqp_url) as connection:
        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await channel.declare_queue("users.requests", durable=True)


@pytest.mark.parametrize(
    ("exchange", "key"), [("requests", "catalog.get-product.v1"), ("commands", "payments.capture-payment.v1")]
)
async def test_a_service_cannot_take_what_another_is_asked(orders: Credentials, exchange: str, key: str) -> None:
    async with await aio_pika.connect(orders.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("orders.requests", durable=True, arguments={"x-queue-type": "classic"})
        await queue.bind(exchange, f"orders{key[key.index('.') :]}")
        with pytest.raises(ChannelAccessRefused):
            await queue.bind(exchange, key)


@pytest.mark.parametrize(
    ("exchange", "key"),
    [
        ("events", "users.user-created.v1"),
        ("presence", "presence.hello.users"),
        ("presence", "presence.accepted.users"),
        ("returns", "parked.users.orders.order-placed.v1"),
        ("retries", "1s.users.orders.order-placed.v1"),
        ("dead-letters", "users.orders.order-placed.v1"),
        ("commands", "users.do-anything.v1"),
        ("requests", "users.assign-roles.v1"),
        ("front-door", "users.assign-roles.v1"),
        ("amq.topic", "orders.order-placed.v1"),
    ],
)
async def test_a_service_cannot_speak_for_another(orders: Credentials, exchange: str, key: str) -> None:
    async with await aio_pika.connect(orders.amqp_url) as connection:
        channel = await connection.channel()
        target = await channel.get_exchange(exchange, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await target.publish(aio_pika.Message(b"{}"), key)


async def test_a_service_cannot_take_what_comes_home_to_another(orders: Credentials) -> None:
    async with await aio_pika.connect(orders.amqp_url) as connection:
        channel = await connection.channel()
        await declare(channel, topology.work("orders", "catalog.stock-reserved.v1", exchange="events"))
        queue = await channel.get_queue("orders.catalog.stock-reserved.v1")
        for key in ("*.users.orders.order-placed.v1", "#"):
            with pytest.raises(ChannelAccessRefused):
                await queue.bind("returns", key)
            channel = await connection.channel()
            queue = await channel.get_queue("orders.catalog.stock-reserved.v1")


async def test_a_service_s_failures_wait_and_come_home(orders: Credentials) -> None:
    queue = topology.work_queue("orders", "catalog.stock-reserved.v1")
    async with await aio_pika.connect(orders.amqp_url) as connection:
        channel = await connection.channel()
        await declare(channel, topology.work("orders", "catalog.stock-reserved.v1", exchange="events"))
        for exchange, key in (
            ("retries", topology.way_home("10m", queue)),
            ("returns", topology.way_home("parked", queue)),
            ("dead-letters", queue),
        ):
            target = await channel.get_exchange(exchange, ensure=False)
            await target.publish(aio_pika.Message(b"{}"), key)
        assert await (await channel.get_queue(queue)).get(timeout=5)


async def test_a_service_cannot_read_another_s_queue(place: Servers, orders: Credentials) -> None:
    async with await aio_pika.connect(place.amqp) as connection:
        await (await connection.channel()).declare_queue("users.requests", durable=True)
    async with await aio_pika.connect(orders.amqp_url) as connection:
        queue = await (await connection.channel()).get_queue("users.requests", ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await queue.get(fail=False)


async def test_a_service_cannot_hear_what_is_no_concern_of_its(orders: Credentials) -> None:
    for exchange, key in (("events", "users.user-created.v1"), ("events", "#"), ("presence", "presence.hello.users")):
        async with await aio_pika.connect(orders.amqp_url) as connection:
            queue = await (await connection.channel()).declare_queue("orders.eavesdropping", exclusive=True)
            with pytest.raises(ChannelAccessRefused):
                await queue.bind(exchange, key)


async def test_a_service_can_neither_bind_nor_unbind_another_s_queue(place: Servers, orders: Credentials) -> None:
    async with await aio_pika.connect(place.amqp) as connection:
        queue = await (await connection.channel()).declare_queue("users.orders.order-confirmed.v1", durable=True)
        await queue.bind("events", "orders.order-confirmed.v1")
    async with await aio_pika.connect(orders.amqp_url) as connection:
        for harm in ("bind", "unbind"):
            theirs = await (await connection.channel()).get_queue(queue.name, ensure=False)
            with pytest.raises(ChannelAccessRefused):
                await getattr(theirs, harm)("events", "orders.order-confirmed.v1")


async def test_only_an_edge_opens_the_front_door(state: State, place: Servers, orders: Credentials) -> None:
    through = topology.through_front_door("orders", ("orders.get-order.v1",))
    async with await aio_pika.connect(orders.amqp_url) as connection:
        channel = await connection.channel()
        await declare(channel, topology.requests("orders", ()))
        with pytest.raises(ChannelAccessRefused):
            await declare(channel, through)
    async with await aio_pika.connect(provision_login(state, place, "edge")) as connection:
        await declare(await connection.channel(), through)


@pytest.mark.parametrize("removed", [topology.REQUESTS, topology.REPLIES, topology.FRONT_DOOR, topology.EVENTS])
async def test_a_service_can_not_remove_an_exchange(orders: Credentials, removed: str) -> None:
    async with await aio_pika.connect(orders.amqp_url) as connection:
        exchange = await (await connection.channel()).get_exchange(removed, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await exchange.delete()


@pytest.mark.parametrize("shared", [topology.DEAD_LETTERS, "retries.1s", topology.EVENT_HISTORY, topology.MANIFESTS])
async def test_a_service_can_neither_remove_nor_empty_what_is_shared(orders: Credentials, shared: str) -> None:
    async with await aio_pika.connect(orders.amqp_url) as connection:
        for harm in ("delete", "purge"):
            queue = await (await connection.channel()).get_queue(shared, ensure=False)
            with pytest.raises(ChannelAccessRefused):
                await getattr(queue, harm)()


async def test_a_service_finds_what_is_shared_and_need_not_make_it(orders: Credentials) -> None:
    async with await aio_pika.connect(orders.amqp_url) as connection:
        await ensure(connection)


async def test_a_service_works_in_its_own_schema_and_sees_no_other(
    state: State, place: Servers, orders: Credentials
) -> None:
    users = provision_service(state, place, "users")
    connection = await asyncpg.connect(users.database_url)
    await connection.execute("CREATE TABLE account (id int)")
    await connection.close()
    connection = await asyncpg.connect(orders.database_url)
    await connection.execute("CREATE TABLE placed (id int)")
    assert await connection.fetchval("SELECT 'orders.placed'::regclass = 'placed'::regclass")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch("SELECT * FROM users.account")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE TABLE public.anywhere (id int)")
    await connection.close()


def test_a_database_login_that_may_not_make_roles_is_told_what_it_needs(
    state: State, place: Servers, orders: Credentials
) -> None:
    with pytest.raises(Failure, match=r"^PostgreSQL's login may not .*: it needs CREATEROLE"):
        provision_service(state, replace(place, database=orders.database_url), "catalog")


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_a_management_login_that_is_no_administrator_is_told_what_it_needs(
    place: Servers, orders: Credentials, password: str
) -> None:
    login, right = login_of(orders.amqp_url)
    url = with_login(str(place.rabbitmq_management), login, right if password == "right" else "wrong")
    with Management(url) as management, pytest.raises(Failure, match="the tag `administrator`"):
        management.make_login("somebody", "password")
    with Management(url) as management, pytest.raises(Failure, match="the tag `administrator`"):
        management.wait(within=1e9)


def test_a_broker_login_that_may_not_make_what_is_shared_is_told_what_it_needs(servers: RealServers) -> None:
    amqp = servers.new_vhost()
    login = login_for(amqp, "poor")
    try:
        with Management(servers.rabbitmq_management) as management:
            management.make_login(login, "password")
            management.permit(login, vhost_of(amqp), configure="^$", write=".*", read=".*")
        poor = Servers(with_login(amqp, login, "password"), None, "")
        with pytest.raises(Failure, match=rf"^RabbitMQ lets {login} not .*: rabbitmqctl set_permissions -p"):
            provision_platform(poor)
        with pytest.raises(Failure, match=r"^RabbitMQ can't be used at amqp://127.0.0.1:\d+"):
            provision_platform(replace(poor, amqp=with_login(amqp, login, "wrong")))
    finally:
        servers.drop_vhost(amqp)


async def test_accounts_made_for_a_test_go_with_it(servers: RealServers, state: State) -> None:
    place = Servers(servers.new_vhost(), servers.rabbitmq_management, servers.new_database())
    accounts = provision_service(state, place, "payments")
    servers.drop_vhost(place.amqp)
    servers.drop_database(place.database)
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(accounts.amqp_url)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(accounts.database_url)
