"""Cutting the connections of one virtual host, as an operator or a broken network does."""

import asyncio
from urllib.parse import quote

import httpx

from infra.launcher.provision import vhost_of
from tests.support.eventually import eventually
from tests.support.servers import RealServers


async def cut_connections(servers: RealServers, amqp: str, *, at_least: int = 1) -> None:
    """Close every connection of this address's virtual host, once there are so many."""
    async with httpx.AsyncClient(base_url=f"{servers.rabbitmq_management}/api/", trust_env=False) as api:

        async def names() -> list[str]:
            answer = await api.get(f"vhosts/{quote(vhost_of(amqp), safe='')}/connections")
            found = [str(connection["name"]) for connection in answer.raise_for_status().json() if "name" in connection]
            assert len(found) >= at_least, f"{len(found)} connections"
            return found

        connections = await eventually(names, within=10)
        await asyncio.gather(*(api.delete(f"connections/{quote(name, safe='')}") for name in connections))
