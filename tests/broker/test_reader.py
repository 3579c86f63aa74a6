"""Hot reads: one statement, one round trip, over every loss of a connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

from broker import reader as room
from broker.answering import Answering
from broker.lane import Answer, Request
from broker.reader import DatabaseAwayError, Json, Reader
from broker.service import Service
from broker.transaction import Database
from contracts.base import Query, Refusal
from tests.broker.asked import Count, Elsewhere, asked, slug, too_many
from tests.support.eventually import eventually

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
HERE = "pid <> pg_backend_pid() AND datname = current_database() AND application_name = 'tests reader'"


class Look(Query[Count]):
    topic: ClassVar[str] = "tests.look.v1"
    statement: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def administrator(shared_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who looks at the server, and ends what others have begun."""
    connection = await asyncpg.connect(shared_database)
    await connection.execute("CREATE TABLE gate (closed bool)")
    yield connection
    await connection.close()


@pytest_asyncio.fixture(loop_scope="module")
async def database(shared_database: str, administrator: asyncpg.Connection) -> AsyncIterator[Database]:
    await administrator.execute("TRUNCATE gate")
    await nobody_left(administrator)
    database = Database(shared_database, service="tests", says=frozenset())
    yield database
    await database.close()


@pytest.fixture
def reader(database: Database) -> Reader:
    return database.reader


@pytest.fixture
def answering(database: Database) -> Answering:
    """Answers with what a statement finds."""
    service = Service("tests", version="1")

    @service.answers(Look)
    async def look(question: Look, reader: Reader) -> Json[Count] | Refusal:
        return await reader.json(question.statement) or too_many()

    service.check()
    return Answering(service, database, Elsewhere())


async def at_work(administrator: asyncpg.Connection, expected: int) -> None:
    """Wait until so many readers' statements run."""

    async def check() -> bool:
        found = await administrator.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND {HERE}")
        assert found == expected
        return True

    await eventually(check, within=5)


async def end_connections(administrator: asyncpg.Connection) -> int:
    """End the readers' connections; returns how many there were."""
    return len(await administrator.fetch(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {HERE}"))


async def nobody_left(administrator: asyncpg.Connection) -> None:
    """Wait until no reader has a connection."""

    async def check() -> bool:
        return bool(await administrator.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {HERE}") == 0)

    await eventually(check, within=5)


async def test_rows_are_found(reader: Reader) -> None:
    assert [tuple(row) for row in await reader.fetch("SELECT n, $1::text FROM generate_series(1, 2) n", "a")] == [
        (1, "a"),
        (2, "a"),
    ]


async def test_the_first_row_is_found_or_none(reader: Reader) -> None:
    row = await reader.fetchrow("VALUES (1), (2)")
    assert row is not None
    assert row[0] == 1
    assert await reader.fetchrow("SELECT 1 WHERE false") is None


async def test_json_is_found_or_none(reader: Reader) -> None:
    assert await reader.json("SELECT json_build_object('ä', $1::text)", "ö") == '{"ä" : "ö"}'.encode()
    assert await reader.json("SELECT '{}'::json WHERE false") is None


async def test_a_statement_costs_one_round_trip(shared_database: str) -> None:
    sent: list[int] = []

    async def pass_on(client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        server_in, server_out = await asyncio.open_connection(address.hostname, address.port)

        async def back() -> None:
            while some := await server_in.read(65536):
                client_out.write(some)

        answers = asyncio.create_task(back())
        while some := await client_in.read(65536):
            sent.append(len(some))
            server_out.write(some)
        server_out.close()
        await answers
        client_out.close()

    address = urlsplit(shared_database)
    async with await asyncio.start_server(pass_on, "127.0.0.1") as relay:
        port = relay.sockets[0].getsockname()[1]
        login, _, _ = address.netloc.rpartition("@")
        reader = Reader(urlunsplit(address._replace(netloc=f"{login}@127.0.0.1:{port}")), service="tests")
        await reader.fetch("SELECT $1::int", 1)
        sent.clear()
        for number in range(10):
            await reader.fetch("SELECT $1::int", number)
        assert len(sent) == 10
        await reader.close()


@pytest.mark.parametrize(
    "statement",
    ["WITH new AS (INSERT INTO gate VALUES (true) RETURNING 1) SELECT * FROM new", "SELECT * FROM gate FOR UPDATE"],
)
async def test_the_database_refuses_what_would_write(reader: Reader, statement: str) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await reader.fetch(statement)


@pytest.mark.parametrize("statement", ["BEGIN", " set role none", "LISTEN x", "DELETE FROM gate", ""])
async def test_what_asks_nothing_is_refused(reader: Reader, statement: str) -> None:
    with pytest.raises(ValueError, match="a reader only asks"):
        await reader.fetch(statement)


async def test_no_more_connections_are_opened_than_there_are_places(reader: Reader) -> None:
    asking = (reader.fetch("SELECT pg_backend_pid(), pg_sleep(0.01)") for _ in range(5 * room.CONNECTIONS))
    assert len({rows[0][0] for rows in await asyncio.gather(*asking)}) == room.CONNECTIONS


async def test_connections_that_the_server_ended_are_replaced(
    reader: Reader, administrator: asyncpg.Connection
) -> None:
    for _ in range(2):
        asking = (reader.fetch("SELECT 7, pg_sleep(0.05)") for _ in range(room.CONNECTIONS))
        assert [rows[0][0] for rows in await asyncio.gather(*asking)] == [7] * room.CONNECTIONS
        assert await end_connections(administrator) == room.CONNECTIONS


async def test_a_statement_whose_connection_breaks_is_asked_once_more(
    reader: Reader, administrator: asyncpg.Connection
) -> None:
    await administrator.execute("INSERT INTO gate VALUES (true)")
    asking = [asyncio.create_task(reader.fetch("SELECT pg_sleep(30) FROM gate")) for _ in range(room.CONNECTIONS)]
    await at_work(administrator, room.CONNECTIONS)
    await administrator.execute("DELETE FROM gate")
    assert await end_connections(administrator) == room.CONNECTIONS
    assert await asyncio.gather(*asking) == [[]] * room.CONNECTIONS


async def test_a_statement_that_breaks_every_connection_is_not_asked_for_ever(answering: Answering) -> None:
    end = "SELECT to_json(pg_terminate_backend(pg_backend_pid()))"
    assert slug(await answering(_look(end))) == "temporarily-unavailable"
    assert await answering(_look("SELECT '7'::json")) == Answer(b"7")


async def test_a_database_that_is_away_makes_the_service_unavailable(
    shared_database: str, answering: Answering
) -> None:
    with pytest.raises(DatabaseAwayError):
        await Reader(shared_database + "_of_another_world", service="tests").fetch("SELECT 1")
    answering._database = Database(shared_database + "_of_another_world", service="tests", says=frozenset())
    assert slug(await answering(_look("SELECT '7'::json"))) == "temporarily-unavailable"


async def test_who_finds_all_connections_busy_is_told_so_in_time(
    answering: Answering, administrator: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.2)
    busy = [asyncio.create_task(answering(_look("SELECT to_json(pg_sleep(1)::text)"))) for _ in range(room.CONNECTIONS)]
    await at_work(administrator, room.CONNECTIONS)
    assert slug(await answering(_look("SELECT '7'::json"))) == "temporarily-unavailable"
    assert not any(answer.refused for answer in await asyncio.gather(*busy))
    assert await answering(_look("SELECT '7'::json")) == Answer(b"7")


async def test_what_nobody_waits_for_any_more_ends_on_the_server_too(
    answering: Answering, administrator: asyncpg.Connection
) -> None:
    sleeping = (answering(_look("SELECT to_json(pg_sleep(30))", within=0.5)) for _ in range(room.CONNECTIONS))
    assert {slug(answer) for answer in await asyncio.gather(*sleeping)} == {"deadline-passed"}
    await at_work(administrator, 0)
    assert await answering(_look("SELECT '7'::json")) == Answer(b"7")


async def test_a_reply_in_json_is_sent_as_it_is(answering: Answering) -> None:
    assert await answering(_look("""SELECT '{"number" : 7}'::json""")) == Answer(b'{"number" : 7}')
    assert slug(await answering(_look("SELECT '{}'::json WHERE false"))) == "too-many"


@pytest.mark.parametrize("statement", ["SELECT $1::int", "SELECT nothing", "SELECT to_json(1/0)", "COMMIT"])
async def test_a_statement_that_is_wrong_is_a_defect_and_breaks_nothing(answering: Answering, statement: str) -> None:
    assert slug(await answering(_look(statement))) == "request-failed"
    assert await answering(_look("SELECT '7'::json")) == Answer(b"7")


async def test_no_connection_outlives_the_database(database: Database, administrator: asyncpg.Connection) -> None:
    asking = asyncio.create_task(database.reader.fetch("SELECT pg_sleep(0.3)"))
    await at_work(administrator, 1)
    await database.reader.fetch("SELECT 1")
    await database.close()
    await asking
    await nobody_left(administrator)


def _look(statement: str, *, within: float = 5) -> Request:
    return asked(Look.topic, Look(statement=statement).model_dump_json().encode(), within=within)
