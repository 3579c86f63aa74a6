"""What the one-shot container of compose and Kubernetes makes, on a real broker and database."""

import asyncio
import re
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError

from infra.containers.__main__ import main
from infra.containers.provisioning import provision
from infra.containers.secrets import Hosts, make_secrets
from infra.launcher.failure import Failure
from infra.launcher.services import BUSINESS
from tests.support.servers import RealServers

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def folder(
    servers: RealServers, shared_amqp: str, shared_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    place = tmp_path_factory.mktemp("platform")
    (place / "given" / "provision").mkdir(parents=True)
    given = {"amqp": shared_amqp, "management": servers.rabbitmq_management, "database": shared_database}
    for name, url in given.items():
        (place / "given" / "provision" / f"{name}-url").write_text(url)
    make_secrets(place / "secrets", Hosts(), place / "given")
    provision(place / "secrets")
    return place / "secrets"


@pytest.mark.parametrize("service", BUSINESS)
async def test_a_service_finds_its_tables_and_its_rights(folder: Path, service: str) -> None:
    database = await asyncpg.connect((folder / service / "database-url").read_text())
    try:
        assert await database.fetchval("SELECT to_regclass('outbox')")
        assert await database.fetchval("SELECT current_schema") == service
    finally:
        await database.close()
    async with await aio_pika.connect((folder / service / "amqp-url").read_text()) as connection:
        channel = await connection.channel()
        await channel.declare_queue(f"{service}.requests", durable=True, arguments={"x-queue-type": "classic"})
        with pytest.raises(ChannelAccessRefused):
            await channel.declare_queue("another.requests", durable=True)


def test_it_may_run_at_every_start(folder: Path) -> None:
    provision(folder)


def test_a_database_of_a_newer_version_is_refused_with_one_sentence(folder: Path, shared_database: str) -> None:
    async def set_version(version: str) -> str:
        connection = await asyncpg.connect(shared_database)
        try:
            before = await connection.fetchval("SELECT version_num FROM orders.alembic_version")
            await connection.execute("UPDATE orders.alembic_version SET version_num = $1", version)
            return str(before)
        finally:
            await connection.close()

    before = asyncio.run(set_version("9999"))
    with pytest.raises(Failure, match=r"The tables can't be brought up to date: .*\(9999\): start a newer"):
        provision(folder)
    asyncio.run(set_version(before))


async def test_a_plug_in_gets_accounts_and_loses_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(*command: str) -> str:
        monkeypatch.setattr("sys.argv", ["infra.containers", *command, str(folder)])
        assert await asyncio.to_thread(main) == 0
        return capsys.readouterr().out

    told = await run("grant", "--hears", "orders.#", "--routes", "/points", "loyalty")
    accounts = dict(re.findall(r"^(HEDGEROW_\w+)='(.*)'$", told, re.MULTILINE))
    database = await asyncpg.connect(accounts["HEDGEROW_DATABASE_URL"])
    assert await database.fetchval("SELECT current_schema") == "loyalty"
    await database.close()
    async with await aio_pika.connect(accounts["HEDGEROW_AMQP_URL"]) as connection:
        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await channel.declare_queue("orders.requests", durable=True)
    assert "has its accounts already" in await run("grant", "loyalty")
    assert "can't log in any more" in await run("revoke", "--drop-data", "loyalty")
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(accounts["HEDGEROW_AMQP_URL"])


def test_a_backup_is_made_and_restored_by_the_secrets_alone(
    folder: Path,
    servers: RealServers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("infra.launcher.backup.CALM_FOR", 0)
    ran = []
    for command in (["backup", str(tmp_path / "kept")], ["restore", str(tmp_path / "kept")]):
        monkeypatch.setattr("sys.argv", ["infra.containers", *command, str(folder)])
        ran.append(main())
    said = capsys.readouterr()
    (before,) = re.findall(r"kept as (\w+)", said.out) or [""]
    servers.drop_database(f"postgresql://nowhere/{before}")
    assert (ran, said.err) == ([0, 0], "")

    async def tables(service: str) -> object:
        connection = await asyncpg.connect((folder / service / "database-url").read_text())
        try:
            return await connection.fetchval("SELECT to_regclass('outbox')")
        finally:
            await connection.close()

    assert all(asyncio.run(tables(service)) for service in BUSINESS)
