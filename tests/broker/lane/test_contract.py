"""What every carrier of the request lane must do, on a real broker."""

import asyncio
import json
import time
from dataclasses import replace
from uuid import UUID

import pytest

from broker import topology
from broker.lane import Answer, Ask, DeadlinePassedError, NobodyThereError, Request, refuse
from contracts.base import Caller, Refusal, refusal, request_failed
from tests.broker.lane.carriers import Lane, asking, echo, next_message, own_queue, publish
from tests.broker.lane.words import SAY, Echo, Say
from tests.support.counting import Counting
from tests.support.eventually import eventually

pytestmark = pytest.mark.servers
no_such_word = refusal("no-such-word", 404, "There is no such word.")


def _in(seconds: float) -> int:
    """A deadline header."""
    return int((time.time() + seconds) * 1000)


async def test_it_answers(lane: Lane) -> None:
    await lane.responder(echo)
    requester = await lane.requester()
    assert await requester.request(asking(b'{"word":"hello"}')) == Answer(b'{"word":"hello"}')


async def test_a_request_arrives_as_it_was_sent(lane: Lane) -> None:
    seen: list[Request] = []

    async def remember(request: Request) -> Answer:
        seen.append(request)
        return Answer(b"null")

    await lane.responder(remember)
    sent = Request(
        SAY,
        b"{}",
        round(time.time() + 5, 3),
        caller=Caller(id=UUID(int=1), session=UUID(int=2), roles=frozenset({"staff", "user"})),
        idempotency_key="key-1",
        params={"word": "grüß\n"},
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    await (await lane.requester()).request(sent)
    assert seen == [sent]


async def test_a_refusal_comes_back_as_a_refusal(lane: Lane) -> None:
    async def no(_: Request) -> Answer:
        return refuse(no_such_word())

    await lane.responder(no)
    answer = await (await lane.requester()).request(asking())
    assert (answer.refused, Refusal.model_validate_json(answer.body)) == (True, no_such_word())


async def test_200_requests_in_flight_each_get_their_own_answer(lane: Lane) -> None:
    async def echo_in_disorder(request: Request) -> Answer:
        await asyncio.sleep(int(request.body) % 7 / 100)
        return Answer(request.body)

    await lane.responder(echo_in_disorder)
    requester = await lane.requester()
    bodies = [str(number).encode() for number in range(200)]
    answers = await asyncio.gather(*(requester.request(asking(body)) for body in bodies))
    assert [answer.body for answer in answers] == bodies


async def test_an_operation_that_nobody_answers_is_refused_at_once(lane: Lane) -> None:
    requester = await lane.requester()
    began = time.monotonic()
    with pytest.raises(NobodyThereError):
        await requester.request(asking(topic="echo.unheard-of.v1"))
    assert time.monotonic() - began < 1


async def test_an_answer_that_does_not_come_in_time_is_not_waited_for(lane: Lane) -> None:
    async def never(_: Request) -> Answer:
        await asyncio.sleep(2)
        return Answer(b"null")

    await lane.responder(never)
    requester = await lane.requester()
    began = time.monotonic()
    with pytest.raises(DeadlinePassedError):
        await requester.request(asking(within=0.2))
    assert time.monotonic() - began < 1


async def test_a_request_past_its_deadline_is_not_even_sent(lane: Lane) -> None:
    requester = await lane.requester()
    with pytest.raises(DeadlinePassedError):
        await requester.request(asking(within=0))


async def test_expired_work_that_waited_in_the_prefetch_buffer_is_never_started(lane: Lane) -> None:
    started: list[bytes] = []

    async def hog(request: Request) -> Answer:
        started.append(request.body)
        if request.body == b"1":
            time.sleep(0.4)  # noqa: ASYNC251 - nothing else of this process can run meanwhile
        return Answer(b"null")

    await lane.responder(hog)
    channel, requester = await lane.channel(), await lane.requester()
    expired = Counting("hedgerow_lane_dropped_total", reason="expired")
    for body, deadline in ((b"1", _in(5)), (b"2", _in(0.2))):
        await publish(channel, topology.REQUESTS, SAY, body, headers={"deadline": deadline})
    await requester.request(asking(b"3"))
    assert started == [b"1", b"3"]
    assert expired.more == 1


async def test_a_nested_request_inherits_what_is_left_of_the_time(lane: Lane) -> None:
    inner: list[float] = []

    async def note(request: Request) -> Answer:
        inner.append(request.deadline)
        return Answer(b'{"word":"deep"}')

    async def pass_on(request: Request) -> Answer:
        reply = await Ask(nested, request.deadline)(Say(word="deep"))
        assert isinstance(reply, Echo)
        return Answer(reply.word.encode())

    await lane.responder(note)
    nested = await lane.requester()
    await lane.responder(pass_on, "front.pass-on.v1", service="front")
    outer = asking(topic="front.pass-on.v1", within=3)
    assert await (await lane.requester()).request(outer) == Answer(b"deep")
    assert inner == [pytest.approx(outer.deadline, abs=0.002)]


async def test_unknown_duplicate_and_late_replies_are_dropped_and_counted(lane: Lane) -> None:
    channel, requester = await lane.channel(), await lane.requester()
    requests = await own_queue(channel, topology.REQUESTS, SAY)
    dropped = Counting("hedgerow_lane_dropped_total", reason="late-reply")
    asked = asyncio.create_task(requester.request(asking()))
    request = await next_message(requests)
    reply_queue = (request.reply_to or "").removesuffix("|replies")
    for correlation_id in ("unknown", request.correlation_id, request.correlation_id, None):
        await publish(channel, topology.REPLIES, reply_queue, b"1", correlation_id=correlation_id)
    assert await asked == Answer(b"1")

    async def counted() -> bool:
        return dropped.more == 3

    await eventually(counted)


async def test_each_service_is_given_an_address_of_its_own_and_keeps_it(lane: Lane) -> None:
    channel, requester = await lane.channel(), await lane.requester()
    topics = (SAY, "others.say.v1", SAY, "echo.other.v1")
    requests = await own_queue(channel, topology.REQUESTS, SAY)
    for topic in topics:
        await requests.bind(topology.REQUESTS, topic)
    addresses = []
    for topic in topics:
        asked = asyncio.create_task(requester.request(replace(asking(), topic=topic)))
        request = await next_message(requests)
        addresses.append(request.reply_to or "")
        key = addresses[-1].removesuffix("|replies")
        await publish(channel, topology.REPLIES, key, b"1", correlation_id=request.correlation_id)
        assert await asked == Answer(b"1")
    assert addresses[0] == addresses[2] == addresses[3] != addresses[1]


async def test_nothing_is_written_to_an_address_that_is_not_a_reply_queue(lane: Lane) -> None:
    seen: list[bytes] = []

    async def note(request: Request) -> Answer:
        seen.append(request.body)
        return Answer(request.body)

    await lane.responder(note)
    channel = await lane.channel()
    victim = await own_queue(channel, topology.EVENTS, "#")
    await victim.bind(topology.REPLIES, victim.name)
    for number, address in enumerate((f"{victim.name}|events", victim.name, f"{victim.name}|", "|events", "|replies")):
        headers = {"deadline": _in(5)}
        await publish(channel, topology.REQUESTS, SAY, str(number).encode(), headers=headers, reply_to=address)

    async def all_seen() -> bool:
        return len(seen) == 5

    await eventually(all_seen)
    headers = {"deadline": _in(5)}
    await publish(channel, topology.REQUESTS, SAY, b"good", headers=headers, reply_to=f"{victim.name}|replies")
    assert (await next_message(victim)).body == b"good"


async def test_malformed_requests_are_dropped_and_counted(lane: Lane) -> None:
    seen: list[bytes] = []

    async def note(request: Request) -> Answer:
        seen.append(request.body)
        return Answer(request.body)

    await lane.responder(note)
    channel, requester = await lane.channel(), await lane.requester()
    dropped = Counting("hedgerow_lane_dropped_total", reason="malformed")
    malformed = [
        {},
        {"deadline": "soon"},
        {"deadline": "nan"},
        {"deadline": 2**62},
        {"deadline": _in(5), "caller-id": "nobody"},
        {"deadline": _in(5), "params": "[" * 100_000},
    ]
    for headers in malformed:
        await publish(channel, topology.REQUESTS, SAY, b"malformed", headers=headers)
    await requester.request(asking(b"good"))
    assert (seen, dropped.more) == ([b"good"], len(malformed))


async def test_whoever_answers_by_raising_refuses_as_failed(lane: Lane) -> None:
    async def fail(_: Request) -> Answer:
        raise ZeroDivisionError

    await lane.responder(fail)
    answer = await (await lane.requester()).request(asking())
    assert (answer.refused, json.loads(answer.body)["slug"]) == (True, request_failed.slug)


async def test_draining_finishes_what_has_begun_and_takes_nothing_new(lane: Lane) -> None:
    seen: list[bytes] = []
    go_on = asyncio.Event()

    async def hold(request: Request) -> Answer:
        seen.append(request.body)
        await go_on.wait()
        return Answer(request.body)

    leaving = await lane.responder(hold)
    requester = await lane.requester()
    begun = asyncio.create_task(requester.request(asking(b"begun")))

    async def has_begun() -> bool:
        return seen == [b"begun"]

    await eventually(has_begun)
    drained = asyncio.create_task(leaving.drain(within=5))
    channel = await lane.channel()

    async def takes_nothing() -> bool:
        queue = await channel.declare_queue(topology.requests_queue("echo"), passive=True)
        return queue.declaration_result.consumer_count == 0

    await eventually(takes_nothing)
    with pytest.raises(DeadlinePassedError):
        await requester.request(asking(b"new", within=0.3))
    assert not drained.done()
    go_on.set()
    await drained
    assert (await begun, seen) == (Answer(b"begun"), [b"begun"])
