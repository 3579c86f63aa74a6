"""The servers' addresses as a program on the same machine, outside the containers, uses them."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from infra.launcher.failure import Failure
from infra.launcher.provision import login_of, with_login

_SETTINGS = {
    "HEDGEROW_AMQP_URL": "amqp-url",
    "HEDGEROW_RABBITMQ_MANAGEMENT_URL": "management-url",
    "HEDGEROW_DATABASE_URL": "database-url",
}


def addresses(folder: Path) -> Iterator[str]:
    """`NAME=URL`, a line for each setting of `./justw up`. Raises `Failure` where there are no secrets."""
    for setting, name in _SETTINGS.items():
        try:
            url = (folder / "provision" / name).read_text()
        except OSError as error:
            raise Failure(f"{folder / 'provision' / name} can't be read: {error.strerror}.") from error
        parts = urlsplit(url)
        yield f"{setting}={with_login(parts._replace(netloc=f'127.0.0.1:{parts.port}').geturl(), *login_of(url))}"
