"""What the figures were measured on, without saying whose machine it is."""

import asyncio
import os
import platform
import subprocess
from importlib.metadata import version
from urllib.parse import unquote, urlsplit

import asyncpg
import httpx
import psutil

from tests.bench import node
from tests.bench.ground import Ground, ground
from tests.bench.h2load import H2LOAD
from tests.bench.wrk import WRK

_PACKAGES = ("uvloop", "granian", "starlette", "pydantic", "aio-pika", "faststream", "sqlalchemy", "asyncpg")


def describe() -> dict[str, str]:
    """Processor, memory, system, and the versions of everything that takes part; starts the servers to ask them."""
    with ground("--servers-only") as here:
        servers = _servers(here)
    told = subprocess.run((node.program(), "--version"), capture_output=True, text=True, check=True)
    return {
        **hardware(),
        "Servers": servers,
        "Python": ", ".join([platform.python_version(), *(f"{name} {version(name)}" for name in _PACKAGES)]),
        "Node": ", ".join([told.stdout.strip(), *(f"{name} {found}" for name, found in node.versions().items())]),
        "Load": f"wrk {WRK.version(told_by='-v')}, {H2LOAD.version(told_by='--version')}, on the same machine",
    }


def hardware() -> dict[str, str]:
    """Processor, memory and system."""
    return {
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "System": _system(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _system() -> str:
    kernel = f"{platform.system()} {platform.release().partition('-')[0]}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    except OSError:
        return kernel


def _servers(here: Ground) -> str:
    place = urlsplit(str(here.runtime["rabbitmq_management"]))
    login = (unquote(place.username or ""), unquote(place.password or ""))
    url = f"{place.scheme}://{place.hostname}:{place.port}/api/overview"
    broker = httpx.get(url, auth=login, trust_env=False).raise_for_status().json()
    database = asyncio.run(_postgresql(str(here.runtime["database"])))
    return f"RabbitMQ {broker['rabbitmq_version']} on Erlang {broker['erlang_version']}, PostgreSQL {database}"


async def _postgresql(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()
