import os
import subprocess
import sys
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from workers.users import app
from workers.users.handlers import Credentials, FirstStaff
from workers.users.mailing import Mailer
from workers.users.post import Folder, Smtp

pytestmark = pytest.mark.servers


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "signing-key.pem"
    path.write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
    monkeypatch.setenv(app.KEY_FILE, str(path))
    return path


@pytest.fixture
def admin_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "admin.json"
    path.write_text('{"email": "boss@example.org", "password": "correct horse"}')
    monkeypatch.setenv(app.ADMIN_FILE, str(path))
    return path


def test_the_key_is_read_from_its_file(key_file: Path) -> None:
    (key,) = app.signer().keys().keys
    assert key.kid == ECKey.import_key(key_file.read_bytes()).thumbprint()


def test_without_a_key_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(app.KEY_FILE, raising=False)
    with pytest.raises(SystemExit, match="HEDGEROW_SIGNING_KEY_FILE is not set"):
        app.signer()


def test_a_key_file_that_is_not_there_is_named(key_file: Path) -> None:
    key_file.unlink()
    with pytest.raises(SystemExit, match=rf"{key_file}, which can't be read: No such file"):
        app.signer()


def test_a_key_file_that_holds_no_key_is_named(key_file: Path) -> None:
    key_file.write_text("not a key")
    with pytest.raises(SystemExit, match=rf"{key_file}, which does not hold a P-256 private key"):
        app.signer()


def test_the_first_staff_user_is_read_from_its_file(admin_file: Path) -> None:
    assert app.first_staff() == FirstStaff(Credentials(email="boss@example.org", password="correct horse"))


def test_there_need_not_be_a_first_staff_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(app.ADMIN_FILE, raising=False)
    assert app.first_staff() == FirstStaff()


def test_an_admin_file_that_is_wrong_is_named_without_what_it_holds(admin_file: Path) -> None:
    admin_file.write_text('{"email": "boss@example.org", "password": "secret"}')
    with pytest.raises(SystemExit, match=rf"{admin_file}.*: see password\.$") as stopped:
        app.first_staff()
    assert "secret" not in str(stopped.value)


def test_without_a_mail_server_mails_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(app.SMTP_URL, raising=False)
    monkeypatch.setenv(app.MAIL_FOLDER, str(tmp_path))
    assert app.mailer().post == Folder(tmp_path)


def test_mails_go_to_the_server_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(app.SMTP_URL, "smtps://mail.example.org")
    monkeypatch.setenv(app.MAIL_FROM, "The Shop <shop@example.org>")
    assert app.mailer() == Mailer(Smtp("mail.example.org", 465, True), "The Shop <shop@example.org>")


def test_a_mail_server_that_is_none_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(app.SMTP_URL, "http://me:secret@mail.example.org")
    with pytest.raises(SystemExit, match="HEDGEROW_SMTP_URL is no address of a mail server") as stopped:
        app.mailer()
    assert "secret" not in str(stopped.value)


def test_a_process_that_can_not_start_says_why_in_one_line(tmp_path: Path) -> None:
    environment = os.environ | {app.KEY_FILE: str(tmp_path / "gone.pem")}
    process = subprocess.run(
        [sys.executable, "-m", "workers.users"], env=environment, capture_output=True, text=True, timeout=30
    )
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert process.stderr.startswith(f"{app.KEY_FILE} names {tmp_path}")
