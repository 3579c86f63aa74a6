"""From a request to its answer: who may ask, and what became of the handler."""

import asyncio
from typing import ClassVar

import pytest
from prometheus_client import REGISTRY

from broker.answering import Answering
from broker.lane import Answer, Ask, NobodyThereError
from broker.reconnecting import BrokerAwayError
from broker.service import Http, Service
from contracts.base import Caller, Query, Refusal, refusal
from contracts.presence import Who
from tests.broker.asked import ANN, BAKER, BEN, STAFF, Count, Elsewhere, Ping, asked, slug, too_many
from tests.support.counting import Counting

_REQUESTS = "hedgerow_requests_total"


def pinging(
    handler: object, *, who: Who = "anyone", roles: tuple[str, ...] = (), requester: Elsewhere | None = None
) -> Answering:
    """A service without a database whose ping is answered by this handler."""
    service = Service("tests", version="1")
    service.answers(Ping, http=Http("GET", "/ping", who=who, roles=roles))(handler)  # type: ignore[type-var]
    return Answering(service, None, requester or Elsewhere())


async def ping(question: Ping) -> Count:
    return Count(number=question.number)


async def test_a_question_is_answered() -> None:
    assert await pinging(ping)(asked(body=b'{"number":7}')) == Answer(b'{"number":7}')


async def test_what_nobody_here_answers_is_refused() -> None:
    assert slug(await pinging(ping)(asked("tests.other.v1"))) == "service-unavailable"


async def test_what_can_not_be_read_is_refused() -> None:
    assert slug(await pinging(ping)(asked(body=b'{"number":"7"}'))) == "invalid-request"


@pytest.mark.parametrize(
    ("who", "caller", "outcome"),
    [
        ("anyone", Caller(), None),
        ("user", Caller(), "unauthenticated"),
        ("user", ANN, None),
        ("staff", Caller(), "unauthenticated"),
        ("staff", ANN, "forbidden"),
        ("staff", STAFF, None),
        ("staff", Caller(roles=frozenset({"staff"})), "unauthenticated"),
    ],
)
async def test_the_framework_itself_keeps_out_who_may_not_ask(who: Who, caller: Caller, outcome: str | None) -> None:
    answer = await pinging(ping, who=who)(asked(caller=caller))
    assert (slug(answer) if answer.refused else None) == outcome


@pytest.mark.parametrize(("caller", "outcome"), [(Caller(), "unauthenticated"), (STAFF, "forbidden"), (BAKER, None)])
async def test_the_framework_itself_keeps_out_who_lacks_the_role(caller: Caller, outcome: str | None) -> None:
    answer = await pinging(ping, who="user", roles=("baker",))(asked(caller=caller))
    assert (slug(answer) if answer.refused else None) == outcome


async def test_who_may_not_ask_is_not_told_what_is_wrong_with_the_request() -> None:
    assert slug(await pinging(ping, who="user")(asked(body=b"nonsense", caller=Caller()))) == "unauthenticated"


async def test_a_handler_that_raises_is_a_defect() -> None:
    async def fail(question: Ping) -> Count:
        raise ZeroDivisionError

    assert slug(await pinging(fail)(asked())) == "request-failed"


async def test_a_handler_that_answers_something_else_is_a_defect() -> None:
    async def lie(question: Ping) -> Count:
        return "seven"  # type: ignore[return-value]

    assert slug(await pinging(lie)(asked())) == "request-failed"


async def test_work_ends_at_its_deadline() -> None:
    ended = asyncio.Event()

    async def dawdle(question: Ping) -> Count:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        return Count(number=0)

    assert slug(await pinging(dawdle)(asked(within=0.05))) == "deadline-passed"
    assert ended.is_set()


async def test_a_time_out_of_the_handlers_own_is_not_the_callers_deadline() -> None:
    async def impatient(question: Ping) -> Count:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(1)
        return Count(number=0)

    assert slug(await pinging(impatient)(asked())) == "temporarily-unavailable"


@pytest.mark.parametrize("error", [NobodyThereError("x"), BrokerAwayError("x")])
async def test_a_service_that_is_needed_and_away_makes_this_one_unavailable(error: Exception) -> None:
    async def forward(question: Ping, ask: Ask) -> Count | Refusal:
        return await ask(Ping())

    answering = pinging(forward, requester=Elsewhere(error))
    assert slug(await answering(asked())) == "temporarily-unavailable"


async def test_a_nested_question_has_the_same_caller_and_deadline() -> None:
    async def forward(question: Ping, ask: Ask) -> Count | Refusal:
        return await ask(Ping())

    elsewhere, outer = Elsewhere(), asked(caller=BEN)
    await pinging(forward, requester=elsewhere)(outer)
    assert [(nested.caller, nested.deadline) for nested in elsewhere.asked] == [(BEN, outer.deadline)]


async def test_what_comes_first_may_refuse() -> None:
    async def first(question: Ping) -> Caller | Refusal:
        return too_many()

    async def never(question: Ping, caller: Caller) -> Count:
        raise AssertionError

    service = Service("tests", version="1")
    service.answers(Ping, first=first)(never)
    assert slug(await Answering(service, None, Elsewhere())(asked())) == "too-many"


class Order(Query[Count]):
    topic: ClassVar[str] = "tests.order.v1"
    refusals = (too_many,)
    number: int = 0


async def test_an_outcome_is_counted_by_a_slug_that_was_declared_or_as_another() -> None:
    passed_on = refusal("somebody-elses", 409, "Passed on.")
    service = Service("tests", version="1")

    @service.answers(Order)
    async def refuse(question: Order) -> Count | Refusal:
        return too_many() if question.number else passed_on()

    counted = [Counting(_REQUESTS, topic=Order.topic, outcome=outcome) for outcome in ("too-many", "other")]
    for body in (b'{"number":1}', b'{"number":0}'):
        await Answering(service, None, Elsewhere())(asked(Order.topic, body))
    assert [count.more for count in counted] == [1, 1]
    assert REGISTRY.get_sample_value(_REQUESTS, {"topic": Order.topic, "outcome": passed_on.slug}) is None


async def test_a_topic_that_nobody_here_answers_makes_no_label() -> None:
    await pinging(ping)(asked("tests.evil.v1"))
    assert all(
        sample.labels.get("topic") != "tests.evil.v1" for family in REGISTRY.collect() for sample in family.samples
    )
