"""Connections that the broker closes in the middle of everything, as when an operator or a failing node ends them."""

import time
from urllib.parse import quote, unquote, urlsplit

import httpx

from infra.launcher.management import Management
from infra.launcher.provision import vhost_of, with_login
from tests.support.servers import RealServers

_EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


def cuttable(servers: RealServers, amqp: str, *, service: str = "tests") -> str:
    """The same address for a login of its own, named as a service's is; it goes with the virtual host."""
    login = f"{service}@{vhost_of(amqp)}"
    with Management(servers.rabbitmq_management) as management:
        management.make_login(login, "secret")
        management.permit(login, vhost_of(amqp), **_EVERYTHING)
    return with_login(amqp, login, "secret")


def cut_connections(servers: RealServers, amqp: str) -> None:
    """Close every connection of this address's login, of which there is one at least: the broker lists them late."""
    login = quote(unquote(urlsplit(amqp).username or ""), safe="")
    connections = f"{servers.rabbitmq_management}/api/connections/username/{login}"
    deadline = time.monotonic() + 10
    while not httpx.get(connections, trust_env=False).raise_for_status().json():
        assert time.monotonic() < deadline, f"{login} has no connection that could be cut"
        time.sleep(0.02)
    httpx.delete(connections, trust_env=False).raise_for_status()
