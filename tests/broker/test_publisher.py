"""Publishing with a promise: sent means confirmed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broker.lane.carriers import CARRIERS
from broker.publisher import ChannelLostError, Publisher, PublishRefusedError
from broker.reconnecting import BrokerAwayError
from tests.broker.shop import linked, listening
from tests.support.cuts import cut_connections, cuttable
from tests.support.servers import RealServers

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module", params=CARRIERS)
def carried_by(request: pytest.FixtureRequest) -> str:
    """Every carrier there is."""
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def publisher(shared_amqp: str, carried_by: str) -> AsyncIterator[Publisher]:
    """A publisher on a link that is up."""
    async with linked(shared_amqp, carried_by=carried_by) as publisher:
        await publisher.link.start()
        await publisher.link.wait_up(within=20)
        yield publisher


async def _event(publisher: Publisher, body: bytes = b"{}") -> None:
    await publisher.publish("events", "tests.opened.v1", body, {"cloudEvents_subject": "a"}, mandatory=True)


async def test_a_message_is_persistent_and_every_attempt_has_a_message_id_of_its_own(
    publisher: Publisher, shared_amqp: str
) -> None:
    async with listening(shared_amqp) as listener:
        await asyncio.gather(*(_event(publisher) for _ in range(3)))
        await listener.has_heard(3)
    assert {message.delivery_mode for message in listener.heard} == {2}
    assert len({message.message_id for message in listener.heard}) == 3


async def test_what_nobody_is_bound_for_is_refused(publisher: Publisher) -> None:
    with pytest.raises(PublishRefusedError, match="NO_ROUTE"):
        await publisher.publish("commands", "nobody.does-this.v1", b"{}", {}, mandatory=True)


async def test_refusals_do_not_change_places_with_confirms(publisher: Publisher) -> None:
    async def outcome(number: int) -> str:
        exchange = "events" if number % 2 else "commands"
        try:
            await publisher.publish(exchange, "tests.opened.v1", b"{}", {}, mandatory=True)
        except PublishRefusedError:
            return "commands"
        return "events"

    assert await asyncio.gather(*map(outcome, range(60))) == ["commands", "events"] * 30


async def test_what_amqp_has_no_words_for_is_refused(publisher: Publisher) -> None:
    with pytest.raises(PublishRefusedError, match="no words"):
        await publisher.publish("events", "tests.opened.v1", b"{}", {"header": object()}, mandatory=True)
    with pytest.raises(PublishRefusedError, match="no words"):
        await publisher.publish("events", "x" * 300, b"{}", {}, mandatory=True)
    await _event(publisher)


async def test_a_channel_that_the_broker_closes_is_opened_again(publisher: Publisher) -> None:
    with pytest.raises(ChannelLostError, match="no exchange 'nowhere'"):
        await publisher.publish("nowhere", "key", b"{}", {}, mandatory=True)
    await asyncio.gather(*(_event(publisher) for _ in range(10)))


async def test_without_a_connection_the_broker_is_away(shared_amqp: str, carried_by: str) -> None:
    async with linked(shared_amqp, carried_by=carried_by) as publisher:
        with pytest.raises(BrokerAwayError):
            await _event(publisher)


async def test_a_connection_that_is_lost_leaves_the_outcome_unknown_and_later_messages_go(
    shared_amqp: str, servers: RealServers, carried_by: str
) -> None:
    amqp = cuttable(servers, shared_amqp)
    async with linked(amqp, carried_by=carried_by) as publisher:
        await publisher.link.start()
        await publisher.link.wait_up(within=20)

        async def publish_on() -> None:
            while True:
                await _event(publisher, b"x" * 10_000)

        under_way = [asyncio.create_task(publish_on()) for _ in range(50)]
        await asyncio.to_thread(cut_connections, servers, amqp)
        outcomes = await asyncio.gather(*under_way, return_exceptions=True)
        assert all(isinstance(outcome, BrokerAwayError) for outcome in outcomes), outcomes
        await publisher.link.wait_up(within=10)
        await _event(publisher)
