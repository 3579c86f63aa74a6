"""Secrets come from files, and from one place only."""

from pathlib import Path

import pytest

from broker.secret_files import SecretError, read_secret_files, take_secrets


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "amqp-url"
    place.write_text("amqp://users:sesame@rabbitmq/\n")
    return place


def test_a_file_gives_the_secret_that_it_holds(file: Path) -> None:
    environment = {"HEDGEROW_AMQP_URL_FILE": str(file), "HEDGEROW_SIGNING_KEY_FILE": "/key.pem"}
    read_secret_files(environment)
    assert environment == {
        "HEDGEROW_AMQP_URL": "amqp://users:sesame@rabbitmq/",
        "HEDGEROW_SIGNING_KEY_FILE": "/key.pem",
    }
    read_secret_files(environment)
    assert environment["HEDGEROW_AMQP_URL"] == "amqp://users:sesame@rabbitmq/"


def test_an_empty_file_gives_nothing(file: Path) -> None:
    file.write_text("\n")
    environment = {"HEDGEROW_SMTP_URL_FILE": str(file)}
    read_secret_files(environment)
    assert environment == {}


def test_two_places_are_one_too_many(file: Path) -> None:
    with pytest.raises(SecretError, match="both set") as refused:
        read_secret_files({"HEDGEROW_AMQP_URL": "amqp://x:sesame@y/", "HEDGEROW_AMQP_URL_FILE": str(file)})
    assert "sesame" not in str(refused.value)


def test_a_file_that_is_not_there_ends_the_process_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEDGEROW_AMQP_URL_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as ended:
        take_secrets()
    assert str(ended.value.code) == (
        f"HEDGEROW_AMQP_URL_FILE names {tmp_path / 'nowhere'}, which can't be read: No such file or directory."
    )


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SecretError, match="is not text"):
        read_secret_files({"HEDGEROW_AMQP_URL_FILE": str(file)})
