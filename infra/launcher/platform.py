"""The platform on one machine: servers, then services, then the edge; ended in the opposite order."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict
from urllib.parse import urlsplit

from infra.launcher import services
from infra.launcher.failure import Failure
from infra.launcher.payment_gateway import stripe_settings, who_is_paid
from infra.launcher.progress import Progress, shown
from infra.launcher.provision import Servers, without_login
from infra.launcher.readiness import wait_until_ready
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
        self._is_ready = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started, ready and seeded inside the block; after it nothing that was started is left."""
        try:
            await self._start()
            self._is_ready = True
            yield
        finally:
            # Where nothing was started, the reason for that is all there is to say.
            if self._is_ready or self._supervisor.has_started:
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
        stripe = stripe_settings()
        self._addresses |= asdict(addresses) | {"payments": who_is_paid(stripe)}
        sandbox = [] if stripe else [asyncio.to_thread(services.gateway, self._state, addresses)]
        programs = await asyncio.gather(
            *sandbox,
            *(asyncio.to_thread(services.worker, self._state, servers, addresses, name) for name in self._services),
            asyncio.to_thread(services.edge, self._state, servers, port),
        )
        for program in programs:
            await self._supervisor.start(program)
        staff = self._state.read("admin.json")
        await wait_until_ready(addresses.edge, self._services, staff, self._supervisor.check, within=60)

    def _seed(self) -> None:
        try:
            added = seed(str(self._addresses["edge"]), self._state.read("admin.json"))
        except (NotOurs, Failure) as reason:
            # A shop without products is no reason to stop a platform that is up.
            self._progress.say(str(reason))
        else:
            if added:
                self._progress.say(f"Added {added} products to try things on.")

    def _record(self) -> None:
        """Called at each new process, so that a restarted one is found under its new pid."""
        pids = self._supervisor.pids
        processes = {name: pid for name, pid in pids.items() if name in services.NAMES}
        own_servers = {name: pid for name, pid in pids.items() if name not in services.NAMES}
        self._state.write("runtime.json", {**self._addresses, "processes": processes, "servers": own_servers})

    def _ready(self) -> dict[str, str]:
        stop, runtime = "./justw down (or Ctrl-C)", shown(self._state.folder / "runtime.json")
        if self._servers_only:
            return {"addresses": runtime, "stop": stop}
        lines = {"edge": str(self._addresses["edge"]), "routes": f"{self._addresses['edge']}/openapi.json"}
        if management := self._addresses["rabbitmq_management"]:
            login = f"login {urlsplit(management).username}, password in {runtime}"
            lines["RabbitMQ"] = f"{without_login(management)} ({login})"
        lines["payments"] = str(self._addresses["payments"])
        staff = f"{shown(self._state.folder / 'admin.json')} (email and password)"
        return lines | {"staff": staff, "stop": stop, "next": "./justw demo"}
