"""Publishing with a promise: sent means confirmed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broker.connection import BrokerAwayError, Link
from broker.publisher import ChannelLostError, Publisher, PublishRefusedError
from tests.broker.shop import linked, listening

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def link(shared_amqp: str) -> AsyncIterator[Link]:
    """A link that has a publisher."""
    async with linked(shared_amqp) as it:
        yield it


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def publisher(link: Link) -> Publisher:
    """A publisher on a link that is up."""
    publisher = Publisher(link)
    await link.start()
    await link.wait_up(within=20)
    return publisher


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
    channel = publisher._channel
    assert channel is not None
    publisher._exchanges["nowhere"] = await channel.get_exchange("nowhere", ensure=False)
    with pytest.raises(ChannelLostError, match="no exchange 'nowhere'"):
        await publisher.publish("nowhere", "key", b"{}", {}, mandatory=True)
    await asyncio.gather(*(_event(publisher) for _ in range(10)))


async def test_without_a_connection_the_broker_is_away(shared_amqp: str) -> None:
    async with linked(shared_amqp) as link:
        with pytest.raises(BrokerAwayError):
            await _event(Publisher(link))


async def test_a_connection_that_is_lost_leaves_the_outcome_unknown_and_later_messages_go(shared_amqp: str) -> None:
    async with linked(shared_amqp) as link:
        publisher = Publisher(link)
        await link.start()
        await link.wait_up(within=20)
        under_way = [asyncio.create_task(_event(publisher, b"x" * 100_000)) for _ in range(50)]
        await asyncio.sleep(0)
        assert link.connection is not None
        lost = asyncio.Event()
        link.on_loss(lost.set)
        transport = link.connection.transport
        assert transport is not None
        await transport.connection.close(ConnectionResetError("the cable is cut"))
        outcomes = await asyncio.gather(*under_way, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, BrokerAwayError) for outcome in outcomes), outcomes
        assert any(isinstance(outcome, BrokerAwayError) for outcome in outcomes)
        await asyncio.wait_for(lost.wait(), 5)
        await link.wait_up(within=10)
        await _event(publisher)
