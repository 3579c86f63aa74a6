"""Grants: a plug-in's broker login, database role and schema, with no more rights than somebody has said.

Promise: what a plug-in may hear, command and ask stands in the rights of its login, which the broker keeps; below what
its routes must be stands in the login's name (broker/logins.py), which every edge sees. So there is no list of grants
that could be lost, or differ from what is in force.
"""

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import aio_pika

from broker import topology
from broker.logins import limited, prefixes_of, service_of
from contracts.presence import Bye, Hello, Manifest
from infra.launcher.failure import Failure
from infra.launcher.management import Management
from infra.launcher.names import check_name
from infra.launcher.provision import (
    Credentials,
    Servers,
    give_login,
    login_for,
    role_for,
    schema_of,
    vhost_of,
    with_login,
)
from infra.launcher.rights import Dealings, rights_to
from infra.launcher.schemas import make_schema, retire_role

_PATTERN = re.compile(r"(\*|#|[a-z0-9][a-z0-9-]*)(\.(\*|#|[a-z0-9][a-z0-9-]*))*")
_ROUTE = re.compile(r"(/[a-z0-9][a-z0-9_-]*)+")
_LONGEST_LOGIN = 200
"""Bytes; AMQP has room for 255."""


@dataclass(frozen=True)
class Grant:
    """What a plug-in may do beside what is its own by its name: patterns of topics, and prefixes of paths."""

    dealings: Dealings = field(default_factory=Dealings)
    routes: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises `Failure` for a pattern or a route that is none."""
        said = {"hears": self.dealings.hears, "commands": self.dealings.commands, "asks": self.dealings.asks}
        for option, patterns in said.items():
            for pattern in patterns:
                if not _PATTERN.fullmatch(pattern):
                    raise Failure(f"--{option} {pattern!r} is no pattern of topics, as orders.# or orders.*.v1 are.")
        for route in self.routes:
            if not _ROUTE.fullmatch(route):
                raise Failure(f"--routes {route!r} is no beginning of a path, as /loyalty is.")


def grant(servers: Servers, name: str, wanted: Grant, *, renew: bool) -> Credentials | None:
    """Make the login, role and schema of a plug-in; None where it has them already. With `renew` it gets a new password
    then, and, where anything is wanted, this in place of what it had. Raises `Failure`."""
    check_name(name, servers)
    wanted.check()
    vhost = vhost_of(servers.amqp)
    login = login_for(servers.amqp, limited(name, wanted.routes))
    if len(login.encode()) > _LONGEST_LOGIN:
        raise Failure("So many --routes do not fit into a login: grant one that they all begin with.")
    with _management(servers) as management:
        there = _logins(management, servers, name)
        granted = [known for known in there if prefixes_of(known) is not None]
        if granted and not renew:
            return None
        password = secrets.token_urlsafe(24)
        if granted and wanted == Grant():
            login = granted[0]
            management.make_login(login, password)
        else:
            give_login(management, login, password, vhost=vhost, rights=rights_to(name, wanted.dealings))
        for known in set(there) - {login}:
            management.drop_login(known)
    role = role_for(servers.database, name)
    make_schema(servers.database, role=role, password=password, schema=schema_of(name))
    return Credentials(with_login(servers.amqp, login, password), with_login(servers.database, role, password))


def revoke(servers: Servers, name: str, *, drop_data: bool) -> None:
    """Take it all back: who is logged in is put out, and its routes are free again. Its schema and its queues stay,
    unless `drop_data`. Raises `Failure` also where there was nothing to take."""
    check_name(name, servers)
    with _management(servers) as management:
        logins = _logins(management, servers, name)
        for login in logins:
            password = secrets.token_urlsafe(24)
            management.make_login(login, password)
            asyncio.run(_give_up_routes(with_login(servers.amqp, login, password), name, login))
            management.drop_login(login)
        if drop_data:
            management.drop_queues(vhost_of(servers.amqp), prefix=f"{name}.")
    role = role_for(servers.database, name)
    had_role = retire_role(servers.database, role=role, schema=schema_of(name), drop_data=drop_data)
    if not logins and not had_role:
        raise Failure(f"There is nothing to take from {name}: it has no login here.")


def is_granted(servers: Servers, name: str) -> bool:
    """Whether the plug-in has a login with limits of its own."""
    if servers.rabbitmq_management is None:
        return False
    with _management(servers) as management:
        return any(prefixes_of(login) is not None for login in _logins(management, servers, name))


async def _give_up_routes(amqp_url: str, name: str, login: str) -> None:
    """Say, with the plug-in's own login, that it offers nothing any more: edges keep the newest they heard."""
    last = Hello(instance=uuid4(), manifest=Manifest(service=name, version="revoked"), started_at=datetime.now(UTC))
    async with await aio_pika.connect(amqp_url) as connection:
        presence = await (await connection.channel()).get_exchange(topology.PRESENCE, ensure=False)
        for said in (last, Bye(instance=last.instance, service=name)):
            message = aio_pika.Message(said.model_dump_json().encode(), user_id=login)
            await presence.publish(message, f"{said.topic}.{name}", mandatory=False)


def _logins(management: Management, servers: Servers, name: str) -> list[str]:
    """All that speak for the plug-in in this virtual host."""
    host = login_for(servers.amqp, "")
    ours = (known for known in management.logins() if "".join(known.partition("@")[1:]) == host)
    return [login for login in ours if service_of(login) == name]


def _management(servers: Servers) -> Management:
    if servers.rabbitmq_management is None:
        raise Failure("Logins need RabbitMQ's management API: set HEDGEROW_RABBITMQ_MANAGEMENT_URL and start again.")
    return Management(servers.rabbitmq_management)
