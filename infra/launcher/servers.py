"""The broker and the database of one platform, found or started, side by side."""

import asyncio
import os

from infra.launcher.management import Management
from infra.launcher.postgresql import find_database
from infra.launcher.progress import Progress
from infra.launcher.provision import DATABASE, Servers, provision_platform
from infra.launcher.rabbitmq import find_broker, will_fetch_packages
from infra.launcher.schemas import make_database
from infra.launcher.state import State
from infra.launcher.supervisor import Supervisor


async def start_servers(state: State, supervisor: Supervisor, progress: Progress) -> Servers:
    """Both ready to use, and prepared for the services. Raises `Failure` when one can't be had."""
    try:
        async with asyncio.TaskGroup() as tasks:
            database = tasks.create_task(_start_database(state, supervisor, progress))
            broker = tasks.create_task(_start_broker(state, supervisor, progress))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    amqp, management = broker.result()
    if management is None:
        progress.say(
            "Without HEDGEROW_RABBITMQ_MANAGEMENT_URL all services share one login, and no delivery limit is set."
        )
    servers = Servers(amqp, management, database.result())
    await asyncio.to_thread(provision_platform, servers)
    return servers


async def _start_broker(state: State, supervisor: Supervisor, progress: Progress) -> tuple[str, str | None]:
    with progress.step("Starting RabbitMQ", "RabbitMQ is ready"):
        if will_fetch_packages():
            progress.say("Fetching RabbitMQ from Debian's packages (about 33 MB).")
        broker = await asyncio.to_thread(find_broker, state)
        for program in broker.programs:
            await supervisor.start(program, within=120)
        if broker.management:
            await asyncio.to_thread(_wait_for_management, broker.management)
    return broker.amqp, broker.management


async def _start_database(state: State, supervisor: Supervisor, progress: Progress) -> str:
    if os.environ.get("HEDGEROW_DATABASE_URL"):
        progress.say("PostgreSQL is the one of HEDGEROW_DATABASE_URL.")
        return find_database(state).url
    with progress.step("Starting PostgreSQL", "PostgreSQL is ready"):
        database = await asyncio.to_thread(find_database, state)
        if database.program:
            await supervisor.start(database.program)
        return await asyncio.to_thread(make_database, database.url, DATABASE)


def _wait_for_management(url: str) -> None:
    with Management(url) as management:
        management.wait(within=60)
