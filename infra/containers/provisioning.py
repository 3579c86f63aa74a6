"""What the servers must have before the services start: logins, roles, schemas, exchanges, tables.

Promise: it may run at every start and beside a running platform; it gives the same rights as the launcher, by the same
code, and takes every name and password from the files that the services read.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from broker.migrate import MigrationError, migrate_all
from infra.launcher.failure import Failure
from infra.launcher.provision import Servers, login_of, permit, provision_platform
from infra.launcher.schemas import make_schema
from infra.launcher.services import BUSINESS


def provision(folder: Path) -> None:
    """Make the servers fit the secrets in the folder. Raises `Failure`."""
    servers = administrator(folder)
    provision_platform(servers)
    for program in (*BUSINESS, "edge"):
        permit(servers.rabbitmq_management or "", program, secret(folder, f"{program}/amqp-url"))
    for service in BUSINESS:
        role, password = login_of(secret(folder, f"{service}/database-url"))
        make_schema(servers.database, role=role, password=password, schema=service)
    _upgrade({service: secret(folder, f"{service}/database-url") for service in BUSINESS})


def _upgrade(databases: Mapping[str, str]) -> None:
    try:
        asyncio.run(migrate_all([(url, f"workers.{service}.migrations") for service, url in databases.items()]))
    except (MigrationError, OSError, asyncpg.PostgresError) as error:
        raise Failure(f"The tables can't be brought up to date: {error}.") from error


def administrator(folder: Path) -> Servers:
    """The administrator's addresses. Raises `Failure`."""
    return Servers(*(secret(folder, f"provision/{name}-url") for name in ("amqp", "management", "database")))


def secret(folder: Path, name: str) -> str:
    """What one of the files holds. Raises `Failure`."""
    try:
        return (folder / name).read_text().strip()
    except OSError as error:
        raise Failure(
            f"{folder / name} can't be read: {error.strerror}. `python -m infra.containers secrets` makes it."
        ) from error
