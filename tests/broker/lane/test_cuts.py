"""What every carrier of the lane must do when there is too much, the broker is away, or connections are cut."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from broker import topology
from broker.lane import (
    Answer,
    ConnectionLostError,
    DeadlinePassedError,
    NobodyThereError,
    OverloadedError,
    Request,
    Requester,
)
from broker.lane.carriers import Carrier
from broker.reconnecting import BrokerAwayError
from tests.broker.lane.carriers import Lane, asking, echo, next_message, own_queue
from tests.broker.lane.words import SAY
from tests.support.counting import Counting
from tests.support.cuts import cut_connections
from tests.support.eventually import eventually
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers
HOW_MANY = {"wire": 10_000, "aio-pika": 1_000}


class Held:
    """Answers with what was asked, when it may."""

    def __init__(self) -> None:
        self.began = Counter[bytes]()
        self.go_on = asyncio.Event()

    async def __call__(self, request: Request) -> Answer:
        self.began[request.body] += 1
        await self.go_on.wait()
        return Answer(request.body)

    async def has_begun(self, *bodies: bytes) -> None:
        """Wait until these were taken up."""

        async def begun() -> bool:
            return set(self.began) >= set(bodies)

        await eventually(begun)


async def test_beyond_the_cap_who_asks_is_told_so_at_once(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("wire", "aiopika"):
        monkeypatch.setattr(f"broker.lane.{package}.requester.MAX_IN_FLIGHT", 5)
    held = Held()
    await lane.responder(held)
    requester = await lane.requester()
    bodies = [str(number).encode() for number in range(5)]
    asked = [asyncio.create_task(requester.request(asking(body))) for body in bodies]
    await held.has_begun(*bodies)
    with pytest.raises(OverloadedError):
        await requester.request(asking())
    held.go_on.set()
    assert [answer.body for answer in await asyncio.gather(*asked)] == bodies
    assert await requester.request(asking(b"again")) == Answer(b"again")


async def test_when_the_connection_is_cut_what_is_in_flight_fails_at_once(lane: Lane, servers: RealServers) -> None:
    channel, requester = await lane.channel(), await lane.requester()
    requests = await own_queue(channel, topology.REQUESTS, SAY)
    asked = [asyncio.create_task(requester.request(asking(within=30))) for _ in range(3)]
    await next_message(requests)
    cut_connections(servers, lane.amqp)
    for ask in asked:
        with pytest.raises(BrokerAwayError):
            await asyncio.wait_for(ask, 2)


async def test_after_a_cut_it_works_again_by_itself_with_a_fresh_reply_queue(lane: Lane, servers: RealServers) -> None:
    addresses: list[str] = []
    await lane.responder(echo)
    requester = await lane.requester()
    channel = await lane.channel()
    copies = await own_queue(channel, topology.REQUESTS, SAY)
    await requester.request(asking())
    addresses.append((await next_message(copies)).reply_to or "")
    cut_connections(servers, lane.amqp)
    copies = await own_queue(await lane.channel(), topology.REQUESTS, SAY)

    async def answered() -> bool:
        try:
            return await requester.request(asking(b"again", within=1)) == Answer(b"again")
        except (BrokerAwayError, NobodyThereError, DeadlinePassedError):
            return False

    assert await eventually(answered, within=10)
    addresses.append((await next_message(copies)).reply_to or "")
    assert addresses[0] != addresses[1]


async def test_while_the_broker_is_away_nobody_waits(lane: Lane) -> None:
    nowhere = Carrier("amqp://nobody:nothing@127.0.0.1:1/", name="nowhere", carried_by=lane.carried_by)
    requester = nowhere.requester(owner="tests")
    with pytest.raises(BrokerAwayError):
        await requester.request(asking())


async def test_a_request_queue_that_is_deleted_is_made_again(lane: Lane) -> None:
    await lane.responder(echo)
    requester, channel = await lane.requester(), await lane.channel()
    await channel.queue_delete(topology.requests_queue("echo"))

    async def answered() -> bool:
        try:
            return await requester.request(asking(b"again", within=0.5)) == Answer(b"again")
        except (NobodyThereError, DeadlinePassedError):
            return False

    assert await eventually(answered, within=10)


async def test_what_may_be_repeated_survives_a_cut_and_what_may_not_fails_at_once(
    lane: Lane, servers: RealServers
) -> None:
    held = Held()
    await lane.responder(held)
    requester = await lane.requester()
    read = asyncio.create_task(requester.request(replace(asking(b"read", within=15), repeatable=True)))
    write = asyncio.create_task(requester.request(asking(b"write", within=15)))
    await held.has_begun(b"read", b"write")
    await asyncio.to_thread(cut_connections, servers, lane.amqp)
    with pytest.raises(ConnectionLostError):
        await asyncio.wait_for(write, 2)
    held.go_on.set()
    assert await read == Answer(b"read")


async def test_nobody_gets_the_answer_to_another_question_however_often_connections_are_cut(
    lane: Lane, servers: RealServers
) -> None:
    await lane.responder(echo)
    requester = await lane.requester()
    answered, how_many = Counter[bytes](), HOW_MANY[lane.carried_by]
    repeated = Counting("hedgerow_lane_repeated_total")

    async def cut(after: int) -> None:
        await eventually(lambda: _answered(answered, after), within=60)
        await asyncio.to_thread(cut_connections, servers, lane.amqp)

    async def cut_thrice() -> None:
        for number in range(1, 4):
            await cut(number * how_many // 5)

    cutting = asyncio.create_task(cut_thrice())
    bodies = [f'"question {number}"'.encode() for number in range(how_many)]
    replies = await asyncio.gather(*(_insist(requester, body, answered) for body in bodies))
    await cutting
    assert replies == bodies
    assert repeated.more > 0


async def _insist(requester: Requester, body: bytes, answered: Counter[bytes]) -> bytes:
    """Ask until there is an answer."""
    while True:
        try:
            answer = await requester.request(replace(asking(body, within=30), repeatable=True))
        except BrokerAwayError:
            await asyncio.sleep(0.2)
        else:
            answered[answer.body] += 1
            return answer.body


async def _answered(answered: Counter[bytes], enough: int) -> bool:
    return answered.total() >= enough
