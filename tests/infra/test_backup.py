"""A backup of real servers, what may be wrong with it, and what comes back."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from broker.migrate import migrate
from infra.launcher import backup
from infra.launcher.backup import take
from infra.launcher.failure import Failure
from infra.launcher.kept import DATABASE, MANIFEST, Kept, keys_beside, look_into
from infra.launcher.progress import Progress
from infra.launcher.provision import Servers, provision_platform, provision_service
from infra.launcher.restore import put_back
from infra.launcher.schemas import drop_database
from infra.launcher.state import State
from tests.infra.conftest import Launcher
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers
ANN, BOB = UUID(int=1), UUID(int=2)
_PEOPLE = """
INSERT INTO person_keys VALUES ('00000000-0000-0000-0000-000000000001', 'key of Ann');
INSERT INTO person_keys VALUES ('00000000-0000-0000-0000-000000000002', 'key of Bob')
"""
_SAID = """
INSERT INTO outbox (partition, aggregate, exchange, topic, headers, body)
VALUES (0, 'a', 'events', 'catalog.said.v1', '{}', '')
"""
_ERASE = ("DELETE FROM person_keys WHERE person = $1", "INSERT INTO erasures (person) VALUES ($1)")


@pytest.fixture
def mine(servers: RealServers, amqp: str, database: str, monkeypatch: pytest.MonkeyPatch) -> Servers:
    """A virtual host and a database in which nobody works."""
    monkeypatch.setattr(backup, "CALM_FOR", 0)
    found = Servers(amqp, servers.rabbitmq_management, database)
    provision_platform(found)
    return found


@pytest.fixture
def progress(state: State) -> Progress:
    return Progress(state.logs / "launcher.log")


@pytest.fixture
async def catalog(mine: Servers, state: State) -> str:
    """The address of a schema with the catalogue's tables, keys of two people, and a message for the relay."""
    url = provision_service(state, mine, "catalog").database_url
    await migrate(url, "workers.catalog.migrations")
    connection = await asyncpg.connect(url)
    await connection.execute(_PEOPLE)
    await connection.execute(_SAID)
    await connection.close()
    return url


@pytest.fixture
async def kept(catalog: str, mine: Servers, progress: Progress, tmp_path: Path) -> Kept:
    """A backup of that."""
    folder = tmp_path / "kept"
    folder.mkdir()
    await take(mine, progress, folder, datetime.now(UTC))
    return look_into(folder, None, version="0.1.0")


@pytest.fixture
def dropped(servers: RealServers) -> Iterator[list[str]]:
    """Databases that are removed after the test."""
    names: list[str] = []
    yield names
    for name in names:
        drop_database(servers.database, name)


async def read(url: str, query: str) -> list[object]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_what_came_later_goes_what_was_there_comes_back_and_who_was_erased_stays_so(
    catalog: str, kept: Kept, mine: Servers, state: State, progress: Progress, dropped: list[str]
) -> None:
    connection = await asyncpg.connect(catalog)
    await connection.execute("DELETE FROM outbox; CREATE TABLE later ()")
    for statement in _ERASE:
        await connection.execute(statement, BOB)
    await connection.close()
    dropped.append(await put_back(mine, progress, kept, lambda role: state.secret(f"postgresql.{role}")))
    assert await read(catalog, "SELECT topic FROM outbox") == ["catalog.said.v1"]
    assert await read(catalog, "SELECT person FROM person_keys") == [ANN]
    assert await read(catalog, "SELECT person FROM erasures") == [BOB]
    assert await read(catalog, "SELECT to_regclass('later')") == [None]
    assert await read(catalog, "SELECT tableowner FROM pg_tables WHERE tablename = 'outbox'") == await read(
        catalog, "SELECT current_user"
    )


def test_the_folder_has_no_key_of_anybody(kept: Kept) -> None:
    assert b"key of Ann" not in b"".join(file.read_bytes() for file in kept.folder.iterdir())
    assert kept.keys.stat().st_mode & 0o077 == 0


def cut(folder: Path) -> None:
    file = folder / DATABASE
    file.write_bytes(file.read_bytes()[:-100])


def newer(folder: Path) -> None:
    told = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(told | {"version": "99.0.0"}))


def unmanifested(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def keyless(folder: Path) -> None:
    keys_beside(folder).unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut, f"is damaged: {DATABASE} is not what it was"),
        (newer, "was made by Hedgerow 99.0.0; restore it with that release"),
        (unmanifested, f"is no backup: there is no {MANIFEST} in it"),
        (keyless, "keys of people can't be read"),
    ],
)
def test_what_can_not_be_restored_is_refused_in_one_sentence(kept: Kept, harm: object, said: str) -> None:
    assert callable(harm)
    harm(kept.folder)
    with pytest.raises(Failure, match=said):
        look_into(kept.folder, None, version="0.1.0")


async def test_while_somebody_works_on_the_database_nothing_is_replaced(
    catalog: str, kept: Kept, mine: Servers, progress: Progress
) -> None:
    connection = await asyncpg.connect(catalog)
    with pytest.raises(Failure, match="1 sessions are open in the database; stop the services"):
        await put_back(mine, progress, kept, lambda _: "")
    await connection.close()


def test_a_folder_that_is_no_backup_ends_the_command_with_one_sentence(launcher: Launcher, tmp_path: Path) -> None:
    done = launcher("restore", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "is no backup" in done.stderr
