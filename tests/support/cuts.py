"""Connections that the broker closes in the middle of everything, as when an operator or a failing node ends them."""

from urllib.parse import quote, unquote, urlsplit

import httpx

from infra.launcher.management import Management
from infra.launcher.provision import vhost_of, with_login
from tests.support.servers import RealServers

_EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


def cuttable(servers: RealServers, amqp: str, *, service: str = "tests") -> str:
    """The same address for a login of its own, named as a service's is; it goes with the virtual host."""
    login = f"{service}@{vhost_of(amqp)}"
    _make(servers, amqp, login)
    return with_login(amqp, login, "secret")


def cut_connections(servers: RealServers, amqp: str) -> None:
    """Close every connection of this address's login: the login is dropped, and made again."""
    login = unquote(urlsplit(amqp).username or "")
    answer = httpx.delete(f"{servers.rabbitmq_management}/api/users/{quote(login, safe='')}", trust_env=False)
    answer.raise_for_status()
    _make(servers, amqp, login)


def _make(servers: RealServers, amqp: str, login: str) -> None:
    with Management(servers.rabbitmq_management) as management:
        management.make_login(login, "secret")
        management.permit(login, vhost_of(amqp), **_EVERYTHING)
