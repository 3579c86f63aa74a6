"""The relay: what is committed reaches the broker, in order, whoever goes away in between."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from broker.ids import new_token
from broker.publisher import ChannelLostError, Publisher
from broker.relay import HOLD, Relay
from broker.transaction import Database
from infra.launcher.management import Management
from infra.launcher.provision import with_login
from tests.broker.diary import Opened, Write
from tests.broker.shop import linked, listening, outbox, outbox_is_empty, relaying, say, shop
from tests.support.eventually import eventually
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers
_HOLDERS = """
SELECT pid, count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objid < 8 AND classid > 0
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY pid
"""


@pytest.fixture
async def schema(database: str) -> AsyncIterator[Database]:
    """A fresh schema with an outbox."""
    async with shop(database) as it:
        yield it


async def _holders(schema: Database) -> dict[int, int]:
    """How many partitions each relay's connection holds."""
    connection = await asyncpg.connect(schema.url)
    try:
        return {row["pid"]: row["count"] for row in await connection.fetch(_HOLDERS)}
    finally:
        await connection.close()


async def _hold(schema: Database, *shares: int) -> dict[int, int]:
    """Wait until the partitions are shared like this."""

    async def check() -> dict[int, int]:
        holders = await _holders(schema)
        assert sorted(holders.values()) == sorted(shares)
        return holders

    return await eventually(check, within=10)


async def _terminate(schema: Database, pid: int) -> None:
    connection = await asyncpg.connect(schema.url)
    try:
        await connection.execute("SELECT pg_terminate_backend($1)", pid)
    finally:
        await connection.close()


async def test_what_is_committed_while_the_broker_is_away_is_delivered_when_it_is_back(
    schema: Database, shared_amqp: str
) -> None:
    account = new_token()
    async with listening(shared_amqp) as listener, linked(shared_amqp) as publisher, relaying(schema, publisher):
        await publisher.link.close()
        await say(schema, *(Opened(account=account, number=number) for number in range(3)))
        await publisher.link.start()
        await listener.has_heard(3)
        assert listener.sequences(account) == [1, 2, 3]
        await outbox_is_empty(schema)


async def test_a_client_that_knows_only_exchange_and_topic_hears_an_event_as_cloudevents_has_it(
    schema: Database, shared_amqp: str
) -> None:
    account = new_token()
    async with (
        listening(shared_amqp, "events", Opened.topic) as listener,
        linked(shared_amqp) as publisher,
        relaying(schema, publisher),
    ):
        await say(schema, Opened(account=account, number=7))
        await listener.has_heard(1)
    (message,) = listener.heard
    assert message.body == Opened(account=account, number=7).model_dump_json().encode()
    assert message.content_type == "application/json"
    assert message.headers["cloudEvents_specversion"] == "1.0"
    assert message.headers["cloudEvents_type"] == message.routing_key == Opened.topic
    assert message.headers["cloudEvents_source"] == "/shop"
    assert message.headers["cloudEvents_subject"] == account
    assert message.headers["cloudEvents_id"] != message.message_id
    assert datetime.fromisoformat(str(message.headers["cloudEvents_time"])).tzinfo is not None
    assert message.headers["sequence"] == 1


async def test_a_relay_that_is_woken_in_the_instant_of_its_end_ends(schema: Database, shared_amqp: str) -> None:
    async with linked(shared_amqp) as publisher, relaying(schema, publisher) as relaying_on:
        await _hold(schema, 8)
        await asyncio.sleep(0.1)  # it rests
        schema.wake({0})
        relaying_on.cancel()
        await asyncio.wait({relaying_on}, timeout=3)
        assert relaying_on.done()
        assert relaying_on.cancelled()


async def test_a_relay_that_is_held_back_leaves_what_is_said_in_the_outbox(
    schema: Database, shared_amqp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, flush = list[bool](), Relay._flush

    async def look(relay: Relay, connection: asyncpg.Connection) -> bool:
        looks.append(await flush(relay, connection))
        return looks[-1]

    async def looked_twice() -> bool:
        return len(looks) >= 2

    monkeypatch.setattr(Relay, "_flush", look)
    async with listening(shared_amqp) as listener, linked(shared_amqp) as publisher, relaying(schema, publisher):
        await _hold(schema, 8)
        holder = await asyncpg.connect(schema.url)
        await holder.execute("SELECT pg_advisory_lock($1, $2)", *HOLD)
        await say(schema, Opened(account=new_token(), number=1))
        looks.clear()
        await eventually(looked_twice)
        await publisher.publish("events", "tests.known", b"", {}, mandatory=False)
        await listener.has_heard(1)
        await holder.close()
        await listener.has_heard(2)
        assert [message.routing_key for message in listener.heard] == ["tests.known", Opened.topic]


async def test_two_relays_share_the_partitions_and_one_that_leaves_gives_its_own_back(
    schema: Database, shared_amqp: str
) -> None:
    async with linked(shared_amqp) as publisher, relaying(schema, publisher):
        await _hold(schema, 8)
        async with relaying(schema, publisher):
            await _hold(schema, 4, 4)
        await _hold(schema, 8)


@pytest.mark.parametrize("how", ["cancelled", "cut off from its database"])
async def test_two_relays_keep_the_order_of_every_aggregate_while_one_is(
    how: str, schema: Database, shared_amqp: str
) -> None:
    accounts = [new_token() for _ in range(8)]

    async def go_on(account: str) -> None:
        for number in range(20):
            await say(schema, Opened(account=account, number=number))

    async with (
        listening(shared_amqp, topic=Opened.topic) as listener,
        linked(shared_amqp) as publisher,
        relaying(schema, publisher) as task,
        linked(shared_amqp) as other,
        relaying(schema, other),
    ):
        holders = await _hold(schema, 4, 4)
        talk = asyncio.gather(*map(go_on, accounts))
        await listener.has_heard(20)
        if how == "cancelled":
            task.cancel()
        else:
            await _terminate(schema, min(holders))
        await talk
        await outbox_is_empty(schema, within=15)
        await listener.has_heard(160)
        assert [listener.sequences(account) for account in accounts] == [list(range(1, 21))] * 8


async def test_a_refused_row_holds_up_its_own_aggregate_only_and_goes_when_there_is_a_queue(
    schema: Database, shared_amqp: str
) -> None:
    stuck, free = new_token(), new_token()
    async with (
        listening(shared_amqp, topic=Opened.topic) as listener,
        linked(shared_amqp) as publisher,
        relaying(schema, publisher),
    ):
        await say(schema, Write(account=stuck), Opened(account=stuck))

        async def is_refused() -> bool:
            row = (await outbox(schema))[0]
            return row.attempts > 0 and "NO_ROUTE" in row.error

        await eventually(is_refused)
        await say(schema, *(Opened(account=free, number=number) for number in range(3)))
        await listener.has_heard(3)
        assert listener.sequences(free) == [1, 2, 3]
        assert listener.sequences(stuck) == []
        async with listening(shared_amqp, "commands", Write.topic) as worker:
            await worker.has_heard(1)
            await listener.has_heard(4)
        assert listener.sequences(stuck) == [1]


async def test_a_row_that_the_broker_forbids_holds_up_its_own_aggregate_only(
    schema: Database, servers: RealServers, shared_amqp: str
) -> None:
    forbidden, free = [new_token() for _ in range(2)], [new_token() for _ in range(5)]
    amqp = _login(servers, shared_amqp, may_write=r"^(?!commands$).*$")
    async with listening(shared_amqp, topic=Opened.topic) as listener, linked(amqp) as publisher:
        await say(schema, *(Write(account=account) for account in forbidden))
        await say(schema, *(Opened(account=account) for account in free))
        async with relaying(schema, publisher):
            await listener.has_heard(5)

            async def only_the_forbidden_wait(attempts: int = 1) -> bool:
                rows = await outbox(schema)
                assert [row.attempts >= attempts and "ACCESS_REFUSED" in row.error for row in rows] == [True, True]
                return True

            await eventually(only_the_forbidden_wait)
            connection = publisher.link.connection
            await eventually(lambda: only_the_forbidden_wait(attempts=3))
            assert publisher.link.connection is connection


async def test_a_crash_between_publishing_and_marking_publishes_again_under_the_same_identity(
    schema: Database, shared_amqp: str
) -> None:
    class NeverReturns:
        def __init__(self, publisher: Publisher) -> None:
            self.link = publisher.link
            self._publisher = publisher

        async def publish(self, *args: Any, **named: Any) -> None:
            await self._publisher.publish(*args, **named)
            await asyncio.Event().wait()

    async with listening(shared_amqp, topic=Opened.topic) as listener, linked(shared_amqp) as publisher:
        async with relaying(schema, NeverReturns(publisher)):
            await say(schema, Opened(account="a"))
            await listener.has_heard(1)
        assert len(await outbox(schema)) == 1
    async with (
        listening(shared_amqp, topic=Opened.topic) as again,
        linked(shared_amqp) as publisher,
        relaying(schema, publisher),
    ):
        await again.has_heard(1)
        await outbox_is_empty(schema)
    first, second = listener.heard[0], again.heard[0]
    assert first.headers == second.headers
    assert first.message_id != second.message_id


async def test_a_relay_outlives_the_loss_of_its_database_connection(schema: Database, shared_amqp: str) -> None:
    async with (
        listening(shared_amqp, topic=Opened.topic) as listener,
        linked(shared_amqp) as publisher,
        relaying(schema, publisher),
    ):
        (pid,) = await _hold(schema, 8)
        await _terminate(schema, pid)
        await say(schema, Opened(account="a"))
        await listener.has_heard(1)
        assert pid not in await _hold(schema, 8)


async def test_a_relay_outlives_the_loss_of_its_channel(schema: Database, shared_amqp: str) -> None:
    async with (
        listening(shared_amqp, topic=Opened.topic) as listener,
        linked(shared_amqp) as publisher,
        relaying(schema, publisher),
    ):
        await say(schema, Opened(account="a"))
        await listener.has_heard(1)
        with pytest.raises(ChannelLostError):
            await publisher.publish("nowhere", "key", b"{}", {}, mandatory=True)
        await say(schema, Opened(account="a"))
        await listener.has_heard(2)


async def test_an_idle_relay_delivers_at_once(schema: Database, shared_amqp: str) -> None:
    delays = []
    async with (
        listening(shared_amqp, topic=Opened.topic) as listener,
        linked(shared_amqp) as publisher,
        relaying(schema, publisher),
    ):
        await _hold(schema, 8)
        for number in range(1, 8):
            await say(schema, Opened(account="a"))
            began = time.perf_counter()
            await listener.has_heard(number)
            delays.append(time.perf_counter() - began)
    assert statistics.median(delays) < 0.3


def _login(servers: RealServers, amqp: str, *, may_write: str) -> str:
    """The address for a login that may not write everywhere; it goes with its virtual host."""
    vhost, password = unquote(urlsplit(amqp).path[1:]), new_token()
    name = f"{new_token()[:8]}@{vhost}"
    with Management(servers.rabbitmq_management) as management:
        management.make_login(name, password)
        management.permit(name, vhost, configure=".*", write=may_write, read=".*")
    return with_login(amqp, name, password)
