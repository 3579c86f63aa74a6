"""The wiring of the users service, and the only reader of its settings."""

import os
import sys
from pathlib import Path

from pydantic import ValidationError

from broker.secret_files import take_secrets
from broker.vault import open_vault
from workers.users.handlers import Credentials, FirstStaff, service
from workers.users.mailing import Mailer
from workers.users.passwords import Passwords
from workers.users.post import Folder, Smtp
from workers.users.tokens import Signer

KEY_FILE = "HEDGEROW_SIGNING_KEY_FILE"
ADMIN_FILE = "HEDGEROW_ADMIN_FILE"
SMTP_URL = "HEDGEROW_SMTP_URL"
MAIL_FOLDER = "HEDGEROW_MAIL_FOLDER"
MAIL_FROM = "HEDGEROW_MAIL_FROM"


def main() -> None:
    """Run one instance. Ends with one sentence on standard error and status 1 where a setting is no good."""
    take_secrets()
    service.provide(signer())
    service.provide(first_staff())
    service.provide(Passwords())
    service.provide(mailer())
    service.provide(open_vault())
    service.run()


def signer() -> Signer:
    """The platform's signing keys."""
    if not os.environ.get(KEY_FILE):
        sys.exit(f"{KEY_FILE} is not set: it names the PEM file with the P-256 private key that signs access tokens.")
    try:
        return Signer(_read(KEY_FILE), file=Path(os.environ[KEY_FILE]))
    except ValueError:
        sys.exit(f"{KEY_FILE} names {os.environ[KEY_FILE]}, which does not hold a P-256 private key in PEM form.")


def first_staff() -> FirstStaff:
    """The first staff user, if the operator names one."""
    if not os.environ.get(ADMIN_FILE):
        return FirstStaff()
    try:
        return FirstStaff(Credentials.model_validate_json(_read(ADMIN_FILE)))
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) or "the whole" for problem in error.errors())
        sys.exit(f"{ADMIN_FILE} names {os.environ[ADMIN_FILE]}, which is not {{email, password}}: see {fields}.")


def mailer() -> Mailer:
    """Who sends the mails: a mail server, or else a folder."""
    sender = os.environ.get(MAIL_FROM) or "Hedgerow <no-reply@hedgerow.example>"
    if not os.environ.get(SMTP_URL):
        return Mailer(Folder(Path(os.environ.get(MAIL_FOLDER) or ".hedgerow/mail")), sender)
    try:
        return Mailer(Smtp.of(os.environ[SMTP_URL]), sender)
    except ValueError as error:
        sys.exit(f"{SMTP_URL} is no address of a mail server: {error}.")


def _read(setting: str) -> bytes:
    path = os.environ[setting]
    try:
        return Path(path).read_bytes()
    except OSError as error:
        sys.exit(f"{setting} names {path}, which can't be read: {error.strerror}.")
