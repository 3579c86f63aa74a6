"""Writes that are asked twice have one effect and one answer; each test has a database of its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
from sqlalchemy import text

from broker.answering import Answering
from broker.answers import Identity
from broker.lane import Answer
from broker.migrate import migrate
from broker.service import Service
from broker.transaction import Database, Transaction
from contracts.base import Operation, Refusal
from tests.broker.asked import ANN, BEN, Count, Elsewhere, Ping, asked, slug, too_many

pytestmark = pytest.mark.servers


class Add(Operation[Count]):
    """Write a row; answer how many there are."""

    topic: ClassVar[str] = "tests.add.v1"
    number: int = 0
    refuse: bool = False
    hold: bool = False


class Draw(Add):
    """The same, but the answer must not be stored."""

    topic: ClassVar[str] = "tests.draw.v1"
    answer_is_kept: ClassVar[bool] = False


@pytest.fixture
async def db(database: str) -> AsyncIterator[Database]:
    await migrate(database, None)
    db = Database(database, service="tests", says=frozenset())
    async with db._engine.begin() as connection:
        await connection.execute(text("CREATE TABLE effects (number bigint)"))
    yield db
    await db.close()


@pytest.fixture
def go_on() -> asyncio.Event:
    """Lets a write that holds go on."""
    return asyncio.Event()


@pytest.fixture
def answering(db: Database, go_on: asyncio.Event) -> Answering:
    service = Service("tests", version="1")

    @service.answers(Draw)
    @service.answers(Add)
    async def add(ask: Add, tx: Transaction) -> Count | Refusal:
        await tx.session.execute(text("INSERT INTO effects VALUES (:number)"), {"number": ask.number})
        if ask.hold:
            await go_on.wait()
        number = (await tx.session.execute(text("SELECT count(*) FROM effects"))).scalar_one()
        return too_many() if ask.refuse else Count(number=number)

    return Answering(service, db, Elsewhere())


async def effects(db: Database) -> int:
    async with db.reading() as tx:
        return int((await tx.session.execute(text("SELECT count(*) FROM effects"))).scalar_one())


async def test_the_same_request_has_one_effect_and_one_answer(db: Database, answering: Answering) -> None:
    answers = [await answering(asked(Add.topic)) for _ in range(2)]
    assert answers == [Answer(b'{"number":1}')] * 2
    assert await effects(db) == 1


async def test_the_same_request_twice_at_once_waits_for_the_first(db: Database, answering: Answering) -> None:
    answers = await asyncio.gather(*(answering(asked(Add.topic)) for _ in range(5)))
    assert answers == [Answer(b'{"number":1}')] * 5
    assert await effects(db) == 1


async def test_another_request_has_another_effect(answering: Answering) -> None:
    await answering(asked(Add.topic))
    assert await answering(asked(Add.topic, request_id="request-2")) == Answer(b'{"number":2}')


async def test_another_callers_request_with_the_same_id_is_another_request(answering: Answering) -> None:
    await answering(asked(Add.topic))
    assert await answering(asked(Add.topic, caller=BEN)) == Answer(b'{"number":2}')


async def test_the_same_key_and_body_get_the_same_answer(db: Database, answering: Answering) -> None:
    answers = [await answering(asked(Add.topic, request_id=each, key="key")) for each in ("a", "b")]
    assert answers == [Answer(b'{"number":1}')] * 2
    assert await effects(db) == 1


async def test_the_same_key_with_another_body_is_refused(db: Database, answering: Answering) -> None:
    await answering(asked(Add.topic, key="key"))
    assert slug(await answering(asked(Add.topic, b'{"number":2}', key="key"))) == "idempotency-key-reused"
    assert await effects(db) == 1


async def test_the_same_key_for_another_operation_is_refused(answering: Answering) -> None:
    identities = {Identity.of(asked(topic, key="key")).fingerprint for topic in (Add.topic, Ping.topic)}
    assert len(identities) == 2


async def test_the_same_key_of_another_caller_is_another_key(answering: Answering) -> None:
    await answering(asked(Add.topic, key="key"))
    assert await answering(asked(Add.topic, caller=BEN, key="key")) == Answer(b'{"number":2}')


async def test_a_key_that_is_in_progress_is_refused_until_it_is_done(
    answering: Answering, go_on: asyncio.Event
) -> None:
    request = asked(Add.topic, b'{"hold":true}', key="key")
    first = asyncio.create_task(answering(request))
    second = first
    while second is first or not (answer := await second).refused:
        assert not first.done()
        second = asyncio.create_task(answering(asked(Add.topic, b'{"hold":true}', key="key", within=0.2)))
    assert slug(answer) == "idempotency-key-in-progress"
    go_on.set()
    assert await first == await answering(request) == Answer(b'{"number":1}')


async def test_an_answer_that_must_not_be_kept_is_not_kept(db: Database, answering: Answering) -> None:
    answers = [await answering(asked(Draw.topic, key="key")) for _ in range(2)]
    assert answers == [Answer(b'{"number":1}'), Answer(b'{"number":2}')]
    assert await kept(db) == 0


async def test_a_refusal_leaves_no_rows_and_is_not_kept(db: Database, answering: Answering) -> None:
    for _ in range(2):
        assert slug(await answering(asked(Add.topic, b'{"refuse":true}', key="key"))) == "too-many"
    assert (await effects(db), await kept(db)) == (0, 0)
    assert await answering(asked(Add.topic, key="key")) == Answer(b'{"number":1}')


async def test_work_that_ends_at_its_deadline_leaves_no_rows(db: Database, answering: Answering) -> None:
    assert slug(await answering(asked(Add.topic, b'{"hold":true}', within=0.3))) == "deadline-passed"
    assert (await effects(db), await kept(db)) == (0, 0)


async def test_neither_the_request_nor_its_key_is_kept(db: Database, answering: Answering) -> None:
    await answering(asked(Add.topic, b'{"number":987654321}', key="a-telling-key"))
    async with db.reading() as tx:
        row = (await tx.session.execute(text("SELECT answers::text FROM answers"))).scalar_one()
    for secret in (b"987654321", b"a-telling-key", str(ANN.id).encode()):
        assert secret.decode() not in row
        assert secret.hex() not in row


async def kept(db: Database) -> int:
    async with db.reading() as tx:
        return int((await tx.session.execute(text("SELECT count(*) FROM answers"))).scalar_one())
