"""Personal data at rest, in a schema of the module's; each test has people of its own."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from broker.answering import Answering
from broker.ids import new_id
from broker.lane import Answer
from broker.master_keys import NAME_BYTES, SETTING, MasterKeyError, MasterKeys, name_of, new_master_key
from broker.migrate import migrate
from broker.outbox import Origin
from broker.service import Service
from broker.transaction import Database, Transaction
from broker.vault import SpoiltError, Vault
from contracts.base import Operation
from tests.broker.asked import Count, Elsewhere, asked, slug
from tests.conftest import Start
from tests.support.eventually import eventually
from tests.support.vaults import MASTER_KEY, vault

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
Result = TypeVar("Result")


class Note(Operation[Count]):
    """Have somebody's data noted."""

    topic = "tests.note.v1"
    person: UUID


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(shared_database: str) -> str:
    await migrate(shared_database, None)
    return shared_database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def db(url: str) -> AsyncIterator[Database]:
    database = await unlocked(url, vault())
    yield database
    await database.close()


async def unlocked(url: str, vault: Vault) -> Database:
    database = Database(url, service="tests", says=frozenset(), vault=vault)
    try:
        await database.transact(Origin("start"), lambda tx: vault.unlock(tx.connection, "tests"))
    except MasterKeyError:
        await database.close()
        raise
    return database


async def do(db: Database, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
    return await db.transact(Origin("test"), work)


async def sealed(db: Database, person: UUID) -> bytes:
    async def seal(tx: Transaction) -> bytes:
        key = await tx.people.key_or_new(person)
        assert key is not None
        return key.seal("here", b"secret")

    return await do(db, seal)


async def opened(db: Database, person: UUID, content: bytes) -> bytes | None:
    async def look(tx: Transaction) -> bytes | None:
        key = await tx.people.key(person)
        return None if key is None else key.open("here", content)

    return await db.read(look)


async def test_what_is_sealed_opens_for_whom_and_where_it_was_sealed(db: Database) -> None:
    ada, bob = new_id(), new_id()
    content = await sealed(db, ada)
    await sealed(db, bob)
    assert b"secret" not in content
    assert await opened(db, ada, content) == b"secret"
    for changed in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b""):
        with pytest.raises(SpoiltError):
            await opened(db, ada, changed)
    with pytest.raises(SpoiltError):
        await opened(db, bob, content)
    async with db.reading() as tx:
        key = await tx.people.key(ada)
        assert key is not None
        with pytest.raises(SpoiltError):
            key.open("elsewhere", content)


async def test_the_same_thing_sealed_twice_looks_different(db: Database) -> None:
    ada = new_id()
    assert await sealed(db, ada) != await sealed(db, ada)


async def test_somebody_is_found_by_what_nobody_can_read(db: Database) -> None:
    ada, email = new_id(), f"{new_id()}@example.org"
    await do(db, lambda tx: tx.people.add(ada, known_by=email))
    assert await db.read(lambda tx: tx.people.find(tx.people.lookup(email))) == ada
    assert await do(db, lambda tx: tx.people.add(new_id(), known_by=email)) is None
    async with db.reading() as tx:
        rows = await tx.connection.fetch("SELECT person_keys::text FROM person_keys")
        assert not any(text.encode().hex() in str(row) or text in str(row) for row in rows for text in [email])


async def test_who_is_erased_is_found_and_read_no_more_and_never_gets_another_key(db: Database) -> None:
    ada, email = new_id(), f"{new_id()}@example.org"
    await do(db, lambda tx: tx.people.add(ada, known_by=email))
    content = await sealed(db, ada)
    for _ in range(2):
        await do(db, lambda tx: tx.people.erase(ada))
    assert await opened(db, ada, content) is None
    assert await db.read(lambda tx: tx.people.find(tx.people.lookup(email))) is None
    assert await do(db, lambda tx: tx.people.key_or_new(ada)) is None
    assert await do(db, lambda tx: tx.people.add(new_id(), known_by=email)) is not None


async def test_an_erasure_and_a_first_key_at_the_same_time_leave_no_key(db: Database) -> None:
    for _ in range(20):
        ada = new_id()
        await asyncio.gather(
            do(db, lambda tx, ada=ada: tx.people.key_or_new(ada)),  # type: ignore[misc]
            do(db, lambda tx, ada=ada: tx.people.erase(ada)),  # type: ignore[misc]
        )
        assert await db.read(lambda tx, ada=ada: tx.people.key(ada)) is None  # type: ignore[misc]


async def test_two_first_keys_at_the_same_time_are_one(db: Database) -> None:
    ada = new_id()
    contents = await asyncio.gather(*(sealed(db, ada) for _ in range(5)))
    assert {await opened(db, ada, content) for content in contents} == {b"secret"}


async def test_another_master_key_is_refused_and_overwrites_nothing(db: Database, url: str) -> None:
    ada = new_id()
    content = await sealed(db, ada)
    before = await rows(db)
    with pytest.raises(MasterKeyError, match="does not fit"):
        await unlocked(url, vault(new_master_key()))
    assert await rows(db) == before
    assert await opened(db, ada, content) == b"secret"


async def test_a_service_that_is_told_another_master_key_ends_with_one_sentence(database: str) -> None:
    await migrate(database, "workers.orders.migrations")
    await (await unlocked(database, vault())).close()
    before = await asyncpg.connect(database)
    kept = await before.fetch("SELECT * FROM person_keys")
    ended = await asyncio.to_thread(orders_with, database, new_master_key())
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "The master key does not fit" in ended.stderr
    assert await before.fetch("SELECT * FROM person_keys") == kept
    await before.close()


def orders_with(url: str, key: str) -> subprocess.CompletedProcess[str]:
    told = {"HEDGEROW_DATABASE_URL": url, "HEDGEROW_AMQP_URL": "amqp://nobody@127.0.0.1:1", "HEDGEROW_MASTER_KEY": key}
    command = [sys.executable, "-m", "workers.orders"]
    return subprocess.run(command, env=told, capture_output=True, text=True, timeout=60)


async def test_a_new_master_key_wraps_every_key_anew_and_the_old_one_may_go(database: str) -> None:
    await migrate(database, None)
    new, ada, email = new_master_key(), new_id(), "ada@example.org"
    before = await unlocked(database, vault())
    await do(before, lambda tx: tx.people.add(ada, known_by=email))
    content = await sealed(before, ada)
    both = vault(new, MASTER_KEY)
    between = await unlocked(database, both)
    assert not await do(between, lambda tx: both.rewrap(tx.connection))
    after = await unlocked(database, vault(new))
    assert await opened(after, ada, content) == b"secret"
    assert await after.read(lambda tx: tx.people.find(tx.people.lookup(email))) == ada
    with pytest.raises(MasterKeyError, match="does not fit"):
        await unlocked(database, vault())
    for it in (before, between, after):
        await it.close()


@pytest.mark.asyncio(loop_scope="function")
async def test_a_running_service_takes_up_a_new_master_key_by_itself(
    running: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.running.REWRAP_EVERY", 0.05)
    file, old, new = tmp_path / "master-key", new_master_key(), new_master_key()
    file.write_text(old)
    service = Service("tests", version="1", says=())
    service.provide(Vault(MasterKeys.of({f"{SETTING}_FILE": str(file)})))

    @service.at_start
    async def know_somebody(tx: Transaction) -> None:
        await tx.people.add(new_id())

    db = (await running(service)).service
    assert db is not None
    assert db.database is not None
    assert await wrapped_by(db.database) == {name_of(old)}
    file.write_text(f"{new}\n{old}\n")

    async def by_the_new_one() -> bool:
        assert db.database is not None
        return await wrapped_by(db.database) == {name_of(new)}

    await eventually(by_the_new_one)


async def wrapped_by(db: Database) -> set[bytes]:
    return {row["wrapped"][:NAME_BYTES] for row in await rows(db)}


async def test_keys_that_came_back_without_the_service_s_own_are_refused(database: str) -> None:
    await migrate(database, None)
    before = await unlocked(database, vault())
    await sealed(before, new_id())
    await do(before, lambda tx: tx.connection.execute(f"DELETE FROM person_keys WHERE person = '{UUID(int=0)}'"))
    with pytest.raises(MasterKeyError, match="restore the table as a whole"):
        await unlocked(database, vault())
    await before.close()


async def test_a_kept_answer_is_sealed_for_whose_it_is_and_gone_with_them(db: Database) -> None:
    service = Service("tests", version="1")

    @service.answers(Note)
    async def note(ask: Note, tx: Transaction) -> Count:
        await tx.people.key_or_new(ask.person)
        return Count(number=987_654)

    answering, person = Answering(service, db, Elsewhere()), new_id()
    request = replace(asked(Note.topic, key=str(person)), body=f'{{"person":"{person}"}}'.encode())
    assert [await answering(request) for _ in range(2)] == [Answer(b'{"number":987654}')] * 2
    async with db.reading() as tx:
        (row,) = await tx.connection.fetch("SELECT body FROM answers WHERE people = $1", [person])
        assert b"987654" not in row["body"]
    await do(db, lambda tx: tx.people.erase(person))
    assert slug(await answering(request)) == "answer-erased"


async def test_who_has_no_vault_keeps_no_people(url: str) -> None:
    database = Database(url, service="tests", says=frozenset())
    async with database.reading() as tx:
        with pytest.raises(TypeError, match="must provide a Vault"):
            tx.people.lookup("x")
    await database.close()


async def rows(db: Database) -> list[asyncpg.Record]:
    async with db.reading() as tx:
        return list(await tx.connection.fetch("SELECT * FROM person_keys ORDER BY person"))
