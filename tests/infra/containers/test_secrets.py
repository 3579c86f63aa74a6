"""The secrets of a platform in containers, as files."""

import stat
from pathlib import Path

import pytest

from infra.containers.addresses import addresses
from infra.containers.provisioning import provision
from infra.containers.secrets import Hosts, make_secrets
from infra.launcher.failure import Failure
from infra.launcher.services import BUSINESS
from workers.users.tokens import Signer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_secrets(tmp_path / "secrets", Hosts())
    return tmp_path / "secrets"


def told(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def given(folder: Path, name: str, content: str) -> Path:
    place = folder.parent / "given" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    return folder.parent / "given"


def test_every_service_has_its_own(folder: Path) -> None:
    passwords = [told(folder)[f"{service}/{kind}-url"] for service in BUSINESS for kind in ("amqp", "database")]
    assert len({password.split(":")[2].split("@")[0] for password in passwords}) == len(passwords)


def test_they_can_be_read_by_whoever_mounts_them_and_written_by_nobody(folder: Path) -> None:
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.rglob("*") if file.is_file()} == {0o444}


def test_made_again_they_stay(folder: Path) -> None:
    before = told(folder)
    assert make_secrets(folder, Hosts()) == []
    assert told(folder) == before


def test_the_servers_know_what_the_services_say(folder: Path) -> None:
    files = told(folder)
    password = files["rabbitmq/password"]
    assert password in files["rabbitmq/default_user.conf"]
    assert files["provision/management-url"] == f"http://hedgerow:{password}@rabbitmq:15672"
    assert files["postgresql/password"] in files["provision/database-url"]
    assert files["redis/redis.conf"].split()[1] in files["edge/redis-url"]
    assert files["payments/key"] == files["gateway/key"]
    assert Signer(files["users/signing-key.pem"].encode())


def test_what_the_operator_gives_takes_their_place_also_later(folder: Path) -> None:
    made = told(folder)
    assert make_secrets(folder, Hosts(), given(folder, "payments/key", "sk_test_1")) == ["payments/key"]
    assert told(folder) == made | {"payments/key": "sk_test_1"}


def test_servers_of_one_s_own_are_where_the_services_go(tmp_path: Path) -> None:
    own = given(tmp_path / "secrets", "provision/database-url", "postgresql://root:p@db.example:6432/shop")
    make_secrets(tmp_path / "secrets", Hosts(), own)
    files = told(tmp_path / "secrets")
    assert files["orders/database-url"].startswith("postgresql://orders%40shop:")
    assert files["orders/database-url"].endswith("@db.example:6432/shop")


def test_a_given_secret_that_nobody_asks_for_is_refused(folder: Path) -> None:
    with pytest.raises(Failure, match=r"payment/key is no secret of the platform's; there is provision/amqp-url, "):
        make_secrets(folder, Hosts(), given(folder, "payment/key", "sk_test_1"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failure, match="can't be used: Not a directory"):
        make_secrets(tmp_path / "file", Hosts())


def test_a_developer_reaches_the_servers_from_outside(folder: Path) -> None:
    files = told(folder)
    assert list(addresses(folder)) == [
        f"HEDGEROW_AMQP_URL=amqp://hedgerow:{files['rabbitmq/password']}@127.0.0.1:5672/%2F",
        f"HEDGEROW_RABBITMQ_MANAGEMENT_URL=http://hedgerow:{files['rabbitmq/password']}@127.0.0.1:15672",
        f"HEDGEROW_DATABASE_URL=postgresql://hedgerow:{files['postgresql/password']}@127.0.0.1:5432/hedgerow",
    ]


def test_without_secrets_nothing_is_provisioned(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"amqp-url can't be read: No such file.*infra.containers secrets"):
        provision(tmp_path)
