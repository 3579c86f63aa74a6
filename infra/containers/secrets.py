"""Every secret of a platform in containers, as files: one folder for each program, which sees no other.

Promise: a file that was made up stays as it is, so that the same command may run at every start; what the operator
gives takes its place, also later. Compose keeps the folders in volumes, Kubernetes in Secrets, under the same names.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from broker.master_keys import new_master_key
from infra.launcher.failure import Failure
from infra.launcher.provision import DATABASE, login_for, login_of, role_for, with_login
from infra.launcher.services import ADMINISTRATOR, BUSINESS
from infra.launcher.signing import new_private_key, pem_of

_OF_THE_SERVERS = "hedgerow"
_READABLE = 0o444  # whoever may mount the folder may read it; each program mounts its own


@dataclass(frozen=True)
class Hosts:
    """By what names the programs reach the servers."""

    rabbitmq: str = "rabbitmq"
    postgresql: str = "postgresql"
    redis: str = "redis"


def make_secrets(folder: Path, hosts: Hosts, given: Path | None = None) -> list[str]:
    """Make what is missing, and answer its names. `given` holds files of the operator's own, by the same names.

    Raises `Failure` where the folder can't be written to, or a given file is not one of these.
    """
    made = Secrets(folder, hosts, given)
    try:
        return [name for name in made.names() if made.provide(name)]
    except OSError as error:
        raise Failure(f"{error.filename} can't be used: {error.strerror}.") from error


class Secrets:
    """What belongs into the files, made up or derived from one another."""

    def __init__(self, folder: Path, hosts: Hosts, given: Path | None) -> None:
        self._folder = folder
        self._amqp = f"amqp://{hosts.rabbitmq}:5672/%2F"
        self._management = f"http://{hosts.rabbitmq}:15672"
        self._database = f"postgresql://{hosts.postgresql}:5432/{DATABASE}"
        self._redis = f"redis://{hosts.redis}:6379/0"
        self._given = {} if given is None else _files(given)
        if unknown := sorted(set(self._given) - set(self.names())):
            raise Failure(f"{given}/{unknown[0]} is no secret of the platform's; there is {', '.join(self.names())}.")

    def names(self) -> Iterator[str]:
        """Every file, below the folder; what is derived comes after what it is derived from."""
        yield from ("provision/amqp-url", "provision/management-url", "provision/database-url")
        yield from ("rabbitmq/username", "rabbitmq/password", "rabbitmq/default_user.conf")
        yield from ("postgresql/username", "postgresql/password")
        for service in BUSINESS:
            yield from (f"{service}/amqp-url", f"{service}/database-url")
        yield from ("users/signing-key.pem", "users/administrator.json", "users/smtp-url")
        yield from ("users/master-key", "orders/master-key")
        yield from ("gateway/key", "gateway/webhook-secret", "payments/key", "payments/webhook-secret")
        yield from ("edge/amqp-url", "edge/redis-url", "redis/redis.conf", "grafana/password")

    def provide(self, name: str) -> bool:
        """Have the file there, as it was given; answers whether it was not."""
        place = self._folder / name
        there = place.read_text() if place.exists() else None
        content = self._given[name].read_text() if name in self._given else self._made(name) if there is None else there
        if content == there:
            return False
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.draft")
        draft.write_text(content)
        draft.chmod(_READABLE)
        draft.rename(place)
        return True

    def _made(self, name: str) -> str:
        program, _, secret = name.partition("/")
        match program, secret:
            case _, "signing-key.pem":
                return pem_of(new_private_key())
            case "users", "master-key":
                return new_master_key()
            case _, "master-key":
                return self._read("users/master-key")
            case _, "administrator.json":
                return json.dumps({"email": ADMINISTRATOR, "password": _password()})
            case _, "smtp-url":
                return ""
            case "provision" | "rabbitmq" | "postgresql" | "redis", _:
                return self._of_a_server(name)
            case _, "amqp-url":
                broker = self._read("provision/amqp-url")
                return with_login(broker, login_for(broker, program), _password())
            case _, "database-url":
                database = self._read("provision/database-url")
                return with_login(database, role_for(database, program), _password())
            case _, "redis-url":
                return with_login(self._redis, "", _password())
            case "payments", _:
                return self._read(f"gateway/{secret}")
        return _password()

    def _of_a_server(self, name: str) -> str:
        match name:
            case "provision/amqp-url":
                return with_login(self._amqp, _OF_THE_SERVERS, _password())
            case "provision/management-url":
                return with_login(self._management, *login_of(self._read("provision/amqp-url")))
            case "provision/database-url":
                return with_login(self._database, _OF_THE_SERVERS, _password())
            case "rabbitmq/default_user.conf":
                login, password = login_of(self._read("provision/amqp-url"))
                return f"default_user = {login}\ndefault_pass = {password}\n"
            case "redis/redis.conf":
                _, password = login_of(self._read("edge/redis-url"))
                return (
                    f'requirepass {password}\nsave ""\nappendonly no\nmaxmemory 64mb\nmaxmemory-policy volatile-ttl\n'
                )
        server, _, part = name.partition("/")
        address = "provision/amqp-url" if server == "rabbitmq" else "provision/database-url"
        return login_of(self._read(address))[part == "password"]

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text().strip()


def _files(folder: Path) -> dict[str, Path]:
    return {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}


def _password() -> str:
    return secrets.token_urlsafe(24)
