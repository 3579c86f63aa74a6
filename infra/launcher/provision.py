"""Every service gets a broker login and a database role of its own, and no more rights than it needs, at each start."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import aio_pika
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import ChannelAccessRefused

from broker.shared import ensure
from infra.launcher.failure import Failure
from infra.launcher.management import Management
from infra.launcher.rights import Rights, rights_of
from infra.launcher.schemas import make_schema
from infra.launcher.state import State

DATABASE = "hedgerow"


@dataclass(frozen=True)
class Servers:
    """The administrator's addresses of the broker and the database."""

    amqp: str
    rabbitmq_management: str | None
    database: str


def servers_of(running: Mapping[str, object]) -> Servers:
    """Those that the `runtime.json` of a running platform names."""
    management = running["rabbitmq_management"]
    return Servers(str(running["amqp"]), str(management) if management else None, str(running["database"]))


@dataclass(frozen=True)
class Credentials:
    """The addresses that one service connects to, its own login in them."""

    amqp_url: str
    database_url: str


def provision_platform(servers: Servers) -> None:
    """What all services share: exchanges and queues, and the delivery limit of the virtual host."""
    if servers.rabbitmq_management:
        with Management(servers.rabbitmq_management) as management:
            management.wait(within=30)
            management.limit_deliveries(vhost_of(servers.amqp))
    asyncio.run(_share(servers.amqp))


async def _share(amqp: str) -> None:
    try:
        async with await aio_pika.connect(amqp) as connection:
            await ensure(connection)
    except ChannelAccessRefused as error:
        login, vhost = login_of(amqp)[0], vhost_of(amqp)
        all_rights = f"rabbitmqctl set_permissions -p '{vhost}' '{login}' '.*' '.*' '.*'"
        raise Failure(f"RabbitMQ lets {login} not make what services share ({error}): {all_rights}") from error
    except (AMQPError, OSError) as error:
        raise Failure(f"RabbitMQ can't be used at {without_login(amqp)}: {str(error).rstrip('.')}.") from error


def provision_service(state: State, servers: Servers, service: str) -> Credentials:
    """Make or renew a service's broker login, database role and schema, and answer the addresses to use."""
    return Credentials(provision_login(state, servers, service), provision_schema(state, servers, service))


def provision_login(state: State, servers: Servers, service: str) -> str:
    """A service's AMQP address; the platform's own where no management API lets us make logins."""
    if servers.rabbitmq_management is None:
        return servers.amqp
    login = login_for(servers.amqp, service)
    address = with_login(servers.amqp, login, state.secret(f"rabbitmq.{login}"))
    permit(servers.rabbitmq_management, service, address)
    return address


def permit(administrator: str, service: str, amqp_url: str) -> None:
    """Make or renew the login in a service's AMQP address, with the service's rights in its virtual host."""
    login, password = login_of(amqp_url)
    vhost = vhost_of(amqp_url)
    with Management(administrator) as management:
        give_login(management, login, password, vhost=vhost, rights=rights_of(service))


def give_login(management: Management, login: str, password: str, *, vhost: str, rights: Rights) -> None:
    """Make or renew a login that has these rights in the virtual host, and no others in it."""
    management.make_login(login, password)
    for exchange, (write, read) in rights.topics.items():
        management.permit_topics(login, vhost, exchange, write=write, read=read)
    management.permit(login, vhost, configure=rights.configure, write=rights.write, read=rights.read)


def provision_schema(state: State, servers: Servers, service: str) -> str:
    """A service's database address: a role that owns one schema, its search path, and can touch no other."""
    role = role_for(servers.database, service)
    password = state.secret(f"postgresql.{role}")
    make_schema(servers.database, role=role, password=password, schema=schema_of(service))
    return with_login(servers.database, role, password)


def login_for(amqp: str, service: str) -> str:
    """A service's broker login, told apart from those of other virtual hosts on the same broker."""
    vhost = vhost_of(amqp)
    return service if vhost == "/" else f"{service}@{vhost}"


def role_for(database: str, service: str) -> str:
    """A service's database role, told apart from those of other databases on the same server."""
    name = urlsplit(database).path.lstrip("/")
    return schema_of(service) if name == DATABASE else f"{schema_of(service)}@{name}"


def schema_of(service: str) -> str:
    """The name of a service's schema."""
    return service.replace("-", "_")


def vhost_of(amqp: str) -> str:
    """The virtual host of an AMQP address; the default one is "/"."""
    return unquote(urlsplit(amqp).path[1:]) or "/"


def login_of(url: str) -> tuple[str, str]:
    """The login and the password in an address."""
    parts = urlsplit(url)
    return unquote(parts.username or ""), unquote(parts.password or "")


def with_login(url: str, login: str, password: str) -> str:
    """The same address for another login."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(login, safe='')}:{quote(password, safe='')}@{place}"))


def without_login(url: str) -> str:
    """The same address, fit to be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
