"""Settings that are secrets, given as files: `HEDGEROW_AMQP_URL_FILE` names the file that holds `HEDGEROW_AMQP_URL`.

Promise: a secret comes from one place, and no message shows it. A file with nothing in it gives nothing.
"""

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

SECRETS = (
    "HEDGEROW_AMQP_URL",
    "HEDGEROW_DATABASE_URL",
    "HEDGEROW_REDIS_URL",
    "HEDGEROW_SMTP_URL",
    "HEDGEROW_GATEWAY_KEY",
    "HEDGEROW_GATEWAY_WEBHOOK_SECRET",
)


class SecretError(Exception):
    """A secret can't be had; the message is one sentence for the operator."""


def take_secrets() -> None:
    """Put them into this process' environment. Ends it with one sentence and status 1 where one can't be had."""
    try:
        read_secret_files(os.environ)
    except SecretError as error:
        sys.exit(str(error))


def read_secret_files(environment: MutableMapping[str, str]) -> None:
    """Replace each `<secret>_FILE` by the secret; asked again, there is nothing left to do. Raises SecretError."""
    for secret in SECRETS:
        if not (path := environment.pop(f"{secret}_FILE", "")):
            continue
        if environment.get(secret):
            raise SecretError(f"{secret} and {secret}_FILE are both set: keep one of them.")
        if content := _content(f"{secret}_FILE", Path(path)):
            environment[secret] = content


def _content(setting: str, place: Path) -> str:
    try:
        return place.read_text().strip()
    except OSError as error:
        raise SecretError(f"{setting} names {place}, which can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SecretError(f"{setting} names {place}, which is not text.") from None
