"""What an operator does after a backup was restored."""

import io
import subprocess
import sys

import asyncpg
import pytest

from broker.erasures import listed, main, replay
from broker.ids import new_id
from broker.migrate import migrate
from tests.broker.test_vault import do, opened, sealed, unlocked
from tests.support.vaults import vault

pytestmark = pytest.mark.servers
NOWHERE = "postgresql://nobody:secret@127.0.0.1:1/none"


async def test_who_was_erased_is_erased_in_the_copy_too_and_so_is_who_is_named(database: str) -> None:
    await migrate(database, None)
    db, (ada, bob, cid) = await unlocked(database, vault()), (new_id() for _ in range(3))
    contents = {person: await sealed(db, person) for person in (ada, bob, cid)}
    await do(db, lambda tx: tx.connection.execute("INSERT INTO erasures (person) VALUES ($1)", ada))
    done = replayed_by_hand(database, str(bob))
    assert (set(done.stdout.split()), done.stderr) == ({str(ada), str(bob)}, "")
    assert [person for person, content in contents.items() if await opened(db, person, content)] == [cid]
    await db.close()


def replayed_by_hand(url: str, given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "broker.erasures", "replay"]
    told = {"HEDGEROW_DATABASE_URL": url}
    return subprocess.run(command, input=given, env=told, capture_output=True, text=True, timeout=60)


async def test_it_is_done_in_every_schema_and_as_often_as_one_likes(database: str) -> None:
    connection = await asyncpg.connect(database)
    for schema in ("one", '"Two"'):
        await connection.execute(f"CREATE SCHEMA {schema}")
        await connection.execute(f"CREATE TABLE {schema}.person_keys (person uuid)")
        await connection.execute(f"CREATE TABLE {schema}.erasures (person uuid PRIMARY KEY)")
    somebody = new_id()
    await connection.execute('INSERT INTO "Two".person_keys VALUES ($1)', somebody)
    await connection.execute("INSERT INTO one.erasures VALUES ($1)", somebody)
    for _ in range(2):
        assert await replay(connection) == {somebody}
    assert await connection.fetchval('SELECT count(*) FROM "Two".person_keys') == 0
    assert await connection.fetchval('SELECT person FROM "Two".erasures') == somebody
    assert await listed(connection) == {somebody}
    await connection.close()


@pytest.mark.parametrize(
    ("arguments", "url", "given", "reason"),
    [
        ([], NOWHERE, "", "say `list`"),
        (["list"], "", "", "set HEDGEROW_DATABASE_URL"),
        (["replay"], NOWHERE, "ada@example.org", "no id of a person"),
        (["list"], NOWHERE, "", "can't be used"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_sentence(
    arguments: list[str], url: str, given: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["broker.erasures", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    monkeypatch.setenv("HEDGEROW_DATABASE_URL", url)
    with pytest.raises(SystemExit, match=reason) as ended:
        main()
    assert "secret" not in str(ended.value)
