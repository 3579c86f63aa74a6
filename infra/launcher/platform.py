"""The platform on one machine: servers, then services, then the edge; ended in the opposite order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from urllib.parse import urlsplit

import httpx

from infra.launcher import services
from infra.launcher.failure import Failure
from infra.launcher.progress import Progress
from infra.launcher.provision import Servers, without_login
from infra.launcher.seed import NotOurs, seed
from infra.launcher.servers import start_servers
from infra.launcher.services import Addresses
from infra.launcher.state import State
from infra.launcher.supervisor import Supervisor


class Platform:
    """Everything `up` starts. `runtime.json` tells its addresses and processes for as long as it runs."""

    def __init__(
        self, state: State, progress: Progress, *, servers_only: bool = False, without: Collection[str] = ()
    ) -> None:
        self._state = state
        self._progress = progress
        self._servers_only = servers_only
        self._services = [name for name in services.BUSINESS if name not in without]
        self._supervisor = Supervisor(progress.say, self._record)
        self._addresses: dict[str, str | None] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started, ready and seeded inside the block; after it nothing that was started is left."""
        try:
            await self._start()
            yield
        finally:
            with self._progress.step("Stopping", "Everything is stopped"):
                await self._supervisor.stop()
            (self._state.folder / "runtime.json").unlink(missing_ok=True)

    async def _start(self) -> None:
        servers = await start_servers(self._state, self._supervisor, self._progress)
        self._addresses |= asdict(servers)
        if not self._servers_only:
            with self._progress.step("Starting the services", "Services and edge are ready"):
                await self._start_services(servers)
            if {"users", "catalog"} <= set(self._services):
                await asyncio.to_thread(self._seed)
        self._record()
        self._progress.block("Hedgerow is ready", self._ready())

    async def _start_services(self, servers: Servers) -> None:
        port, gateway_port = services.edge_port(), self._state.port("gateway")
        addresses = Addresses(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{gateway_port}")
        self._addresses |= asdict(addresses)
        programs = await asyncio.gather(
            asyncio.to_thread(services.gateway, self._state, gateway_port),
            *(asyncio.to_thread(services.worker, self._state, servers, addresses, name) for name in self._services),
            asyncio.to_thread(services.edge, self._state, servers, port),
        )
        for program in programs:
            await self._supervisor.start(program)
        async with httpx.AsyncClient(base_url=addresses.edge, timeout=2, trust_env=False) as client:
            for path, expected in self._signs_of_life():
                await self._answers(client, path, expected)

    def _signs_of_life(self) -> Iterator[tuple[str, int]]:
        """What shows that everybody who answers over HTTP is there: a route that lives asks a stranger to log in."""
        signs = {"users": ("/readyz", 200), "catalog": ("/products", 200), "orders": ("/orders", 401)}
        yield "/healthz", 200
        yield from (sign for name, sign in signs.items() if name in self._services)

    async def _answers(self, client: httpx.AsyncClient, path: str, expected: int) -> None:
        status: int | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                while status != expected:
                    self._supervisor.check()
                    with contextlib.suppress(httpx.HTTPError):
                        status = (await client.get(path)).status_code
                    await asyncio.sleep(0.05)
                return
        said = "no answer" if status is None else f"status {status}"
        raise Failure(f"The platform did not become ready: GET {path} gave {said} for 60 s (see {self._state.logs}).")

    def _seed(self) -> None:
        try:
            added = seed(str(self._addresses["edge"]), self._state.read("admin.json"))
        except NotOurs as stranger:
            self._progress.say(str(stranger))
        else:
            if added:
                self._progress.say(f"Added {added} products to try things on.")

    def _record(self) -> None:
        """Called at each new process, so that a restarted one is found under its new pid."""
        pids = self._supervisor.pids
        processes = {name: pid for name, pid in pids.items() if name in services.NAMES}
        own_servers = {name: pid for name, pid in pids.items() if name not in services.NAMES}
        self._state.write("runtime.json", {**self._addresses, "processes": processes, "servers": own_servers})

    def _ready(self) -> list[str]:
        management = self._addresses["rabbitmq_management"]
        if self._servers_only:
            return [f"addresses  {self._state.folder / 'runtime.json'}", "stop       ./justw down (or Ctrl-C)"]
        lines = [
            f"edge       {self._addresses['edge']}",
            f"routes     {self._addresses['edge']}/openapi.json",
            f"staff      {self._state.folder / 'admin.json'} (email and password)",
            "stop       ./justw down (or Ctrl-C)",
            "next       ./justw demo",
        ]
        if management:
            login = f"login {urlsplit(management).username}, password in {self._state.folder / 'runtime.json'}"
            lines.insert(2, f"RabbitMQ   {without_login(management)} ({login})")
        return lines
