"""What a plug-in with a grant may do on a real broker and in a real database, and what is left when it is revoked."""

import asyncio

import aio_pika
import asyncpg
import pytest
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError

from broker.reconnecting import login_of
from infra.launcher.failure import Failure
from infra.launcher.grants import Grant, grant, is_granted, revoke
from infra.launcher.provision import Credentials, Servers, provision_platform, provision_service
from infra.launcher.rights import Dealings
from infra.launcher.state import State
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers
NOWHERE = Servers("amqp://root:x@nowhere/", None, "postgresql://owner:x@nowhere/hedgerow")
WANTED = Grant(Dealings(hears=("orders.#",), asks=("catalog.get-product.v1",)), ("/points",))


@pytest.fixture(scope="module")
def place(servers: RealServers, shared_amqp: str, shared_database: str) -> Servers:
    found = Servers(shared_amqp, servers.rabbitmq_management, shared_database)
    provision_platform(found)
    return found


@pytest.fixture(scope="module")
def points(place: Servers) -> Credentials:
    made = grant(place, "points", WANTED, renew=False)
    assert made is not None
    return made


async def test_a_plug_in_hears_says_and_asks_what_it_was_granted(points: Credentials) -> None:
    async with await aio_pika.connect(points.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("points.heard", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind("events", "orders.#")
        await queue.bind("events", "points.#")
        for exchange, key in (("requests", "catalog.get-product.v1"), ("events", "points.points-earned.v1")):
            target = await channel.get_exchange(exchange, ensure=False)
            await target.publish(aio_pika.Message(b"{}"), key, mandatory=False)
        assert await queue.get(timeout=5)


@pytest.mark.parametrize(
    ("exchange", "key"),
    [
        ("events", "orders.order-placed.v1"),
        ("commands", "payments.refund-payment.v1"),
        ("requests", "users.assign-roles.v1"),
        ("requests", "catalog.get-product.v2"),
        ("presence", "presence.hello.catalog"),
        ("presence", "presence.accepted.points"),
    ],
)
async def test_it_says_and_asks_nothing_else(points: Credentials, exchange: str, key: str) -> None:
    async with await aio_pika.connect(points.amqp_url) as connection:
        target = await (await connection.channel()).get_exchange(exchange, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await target.publish(aio_pika.Message(b"{}"), key, mandatory=False)


@pytest.mark.parametrize(
    ("exchange", "key"),
    [
        ("events", "#"),
        ("events", "payments.payment-captured.v1"),
        ("events", "*.order-placed.v1"),
        ("commands", "payments.#"),
        ("requests", "catalog.get-product.v1"),
        ("returns", "#"),
        ("presence", "presence.#"),
    ],
)
async def test_it_hears_nothing_else(points: Credentials, exchange: str, key: str) -> None:
    async with await aio_pika.connect(points.amqp_url) as connection:
        queue = await (await connection.channel()).declare_queue("points.ear", exclusive=True)
        with pytest.raises(ChannelAccessRefused):
            await queue.bind(exchange, key)


async def test_it_takes_nothing_from_queues_that_are_not_its_own(place: Servers, points: Credentials) -> None:
    async with await aio_pika.connect(place.amqp) as connection:
        await (await connection.channel()).declare_queue("orders.payments.x.v1", durable=True)
    async with await aio_pika.connect(points.amqp_url) as connection:
        for name in ("orders.payments.x.v1", "events.history", "dead-letters"):
            queue = await (await connection.channel()).get_queue(name, ensure=False)
            with pytest.raises(ChannelAccessRefused):
                await queue.get(fail=False)


async def test_it_works_in_its_own_schema_and_sees_no_other(
    place: Servers, points: Credentials, tmp_path_factory: pytest.TempPathFactory
) -> None:
    orders = await asyncpg.connect(
        provision_service(State(tmp_path_factory.mktemp("state")), place, "orders").database_url
    )
    await orders.execute("CREATE TABLE IF NOT EXISTS secret (id int)")
    plug_in = await asyncpg.connect(points.database_url)
    await plug_in.execute("CREATE TABLE balance (id int)")
    for connection, query in (
        (plug_in, "SELECT * FROM orders.secret"),
        (plug_in, "CREATE TABLE public.anywhere (id int)"),
        (plug_in, "CREATE SCHEMA another"),
        (plug_in, "CREATE TEMPORARY TABLE fleeting (id int)"),
        (orders, "SELECT * FROM points.balance"),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(query)
    await orders.close()
    await plug_in.close()


def test_granted_again_it_keeps_what_it_has(place: Servers, points: Credentials) -> None:
    assert grant(place, "points", Grant(), renew=False) is None
    assert is_granted(place, "points")
    assert not is_granted(place, "point")


async def test_a_renewed_grant_has_a_new_password_and_the_same_rights(place: Servers) -> None:
    before = grant(place, "renewed", WANTED, renew=False)
    after = grant(place, "renewed", Grant(), renew=True)
    assert before is not None
    assert after is not None
    assert login_of(after.amqp_url) == login_of(before.amqp_url)
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(before.amqp_url)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(before.database_url)
    await may_bind(after, "renewed", "orders.#")
    other = grant(place, "renewed", Grant(Dealings(hears=("catalog.#",))), renew=True)
    assert other is not None
    await may_bind(other, "renewed", "catalog.#")
    with pytest.raises(ChannelAccessRefused):
        await may_bind(other, "renewed", "orders.#")


async def may_bind(accounts: Credentials, name: str, key: str) -> None:
    async with await aio_pika.connect(accounts.amqp_url) as connection:
        queue = await (await connection.channel()).declare_queue(f"{name}.heard", exclusive=True)
        await queue.bind("events", key)


async def test_what_is_revoked_is_put_out_and_its_data_stay_until_they_are_dropped(place: Servers) -> None:
    accounts = grant(place, "passing", WANTED, renew=False)
    assert accounts is not None
    broker, database = await aio_pika.connect(accounts.amqp_url), await asyncpg.connect(accounts.database_url)
    out_of_broker, out_of_database = asyncio.Event(), asyncio.Event()
    broker.close_callbacks.add(lambda *_: out_of_broker.set())
    database.add_termination_listener(lambda _: out_of_database.set())
    await (await broker.channel()).declare_queue("passing.kept", durable=True)
    await database.execute("CREATE TABLE kept (id int)")
    await revoked(place, "passing", drop_data=False)
    await asyncio.wait_for(asyncio.gather(out_of_broker.wait(), out_of_database.wait()), 5)
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(accounts.amqp_url)
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(accounts.database_url)
    assert await left(place, "passing") == (True, True)
    await revoked(place, "passing", drop_data=True)
    assert await left(place, "passing") == (False, False)
    with pytest.raises(Failure, match="nothing to take from passing"):
        await revoked(place, "passing", drop_data=True)


async def test_a_role_that_is_somebody_else_s_is_left_alone(place: Servers, points: Credentials) -> None:
    administrator = await asyncpg.connect(place.database)
    role = f"reports@{place.database.rpartition('/')[2]}"
    await administrator.execute(f'CREATE ROLE "{role}" LOGIN')
    with pytest.raises(Failure, match="nothing to take from reports"):
        await revoked(place, "reports", drop_data=True)
    assert await administrator.fetchval("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", role)
    await administrator.close()


async def revoked(place: Servers, name: str, *, drop_data: bool) -> None:
    """Beside the loop of the test, as the command does it in a process of its own."""
    await asyncio.to_thread(revoke, place, name, drop_data=drop_data)


async def left(place: Servers, name: str) -> tuple[bool, bool]:
    """Whether its table is there, and its queue."""
    administrator = await asyncpg.connect(place.database)
    table = await administrator.fetchval("SELECT to_regnamespace($1)", name) is not None
    await administrator.close()
    async with await aio_pika.connect(place.amqp) as connection:
        try:
            await (await connection.channel()).declare_queue(f"{name}.kept", passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return table, False
        return table, True


@pytest.mark.parametrize(
    "name", ["orders", "edge", "events", "suspects", "public", "pg-toast", "Points", "a.b", "a:b", ""]
)
def test_a_name_that_is_not_to_be_had_is_refused(name: str) -> None:
    with pytest.raises(Failure, match=r"name"):
        grant(NOWHERE, name, WANTED, renew=False)
    with pytest.raises(Failure, match=r"name"):
        revoke(NOWHERE, name, drop_data=True)


@pytest.mark.parametrize("name", ["root", "owner"])
def test_an_administrator_is_no_plug_in(name: str) -> None:
    with pytest.raises(Failure, match=f"{name} is a name of the platform's own"):
        grant(NOWHERE, name, WANTED, renew=False)


@pytest.mark.parametrize(
    "pattern", ["", "orders.", ".orders", "orders.##", "orders..x", "Orders.#", "orders.# ", "a|b", "(.*)"]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(Failure, match=r"--hears .* is no pattern"):
        grant(NOWHERE, "points", Grant(Dealings(hears=(pattern,))), renew=False)


@pytest.mark.parametrize(
    "route", ["", "/", "points", "/points/", "//points", "/{x}", "/a,/b", "/a@b", "/a:b", "/a/../b"]
)
def test_what_is_no_beginning_of_a_path_is_refused(route: str) -> None:
    with pytest.raises(Failure, match=r"--routes .* is no beginning"):
        grant(NOWHERE, "points", Grant(routes=(route,)), renew=False)


def test_without_the_management_api_there_are_no_grants() -> None:
    with pytest.raises(Failure, match="HEDGEROW_RABBITMQ_MANAGEMENT_URL"):
        grant(NOWHERE, "points", WANTED, renew=False)
    assert not is_granted(NOWHERE, "points")


def test_more_routes_than_a_login_can_name_are_refused() -> None:
    with pytest.raises(Failure, match="do not fit"):
        grant(NOWHERE, "points", Grant(routes=tuple(f"/points-{number}" for number in range(30))), renew=False)
