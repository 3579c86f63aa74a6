"""What a service does again and again, on real servers: at its time, at once where there is more, and over failures."""

from typing import ClassVar

import pytest
from sqlalchemy import text

from broker.service import Service
from broker.transaction import Database, Transaction
from contracts.base import Event
from tests.conftest import Start
from tests.support.counting import Counting
from tests.support.eventually import eventually

pytestmark = pytest.mark.servers
RARELY = 3600.0


async def happens(done: list[str], *, times: int) -> None:
    async def check() -> bool:
        return len(done) >= times

    await eventually(check, within=10)


async def test_a_chore_runs_again_and_again(running: Start) -> None:
    service, done = Service("keeper"), list[str]()

    @service.every(seconds=0.05)
    async def tidy() -> None:
        done.append("tidied")

    await running(service, with_database=False)
    await happens(done, times=3)


async def test_a_chore_that_has_more_to_do_runs_at_once(running: Start) -> None:
    service, left = Service("keeper"), ["one", "two", "three"]

    @service.every(seconds=RARELY)
    async def work_off() -> bool:
        left.pop()
        return bool(left)

    await running(service, with_database=False)

    async def is_done() -> bool:
        return not left

    await eventually(is_done, within=10)


async def test_what_a_chore_says_leaves_with_its_transaction_and_not_without(running: Start) -> None:
    class Kept(Event):
        topic: ClassVar[str] = "keeper.kept.v1"
        subject: ClassVar[str] = "name"
        name: str

    service, tried = Service("keeper", says=(Kept,)), list[str]()

    @service.every(seconds=0.05)
    async def keep(tx: Transaction) -> None:
        tried.append("kept")
        tx.emit(Kept(name=str(len(tried))))
        if len(tried) == 1:
            raise RuntimeError("not this time")

    failures = Counting("hedgerow_chore_failures_total", chore="keep")
    bench = await running(service)
    assert (await bench.heard(Kept, within=10)).name == "2"
    assert failures.more == 1


async def test_a_chore_may_have_the_database_itself(running: Start) -> None:
    service, found = Service("keeper"), list[str]()

    @service.every(seconds=RARELY)
    async def look(database: Database) -> None:
        async with database.reading() as tx:
            found.append(str((await tx.session.execute(text("SELECT current_schema()"))).scalar_one()))

    await running(service)
    await happens(found, times=1)


def test_a_chore_that_wants_what_nobody_gives_is_found_when_the_service_is_put_together() -> None:
    service = Service("keeper")

    @service.every(seconds=RARELY)
    async def guess(clairvoyance: bytes) -> None:
        raise AssertionError(clairvoyance)

    with pytest.raises(TypeError, match="clairvoyance"):
        service.check()
