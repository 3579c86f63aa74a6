"""The platform on one machine: servers, then services, then the edge; ended in the opposite order."""

import asyncio
import socket
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from broker.migrate import MigrationError, migrate_all
from edge_api.certificate import Certificate
from infra.launcher import services
from infra.launcher.control import told_at
from infra.launcher.failure import Failure
from infra.launcher.payment_gateway import stripe_settings, who_is_paid
from infra.launcher.program import Program
from infra.launcher.progress import Progress, shown
from infra.launcher.prometheus import keep_targets, prometheus, will_fetch
from infra.launcher.provision import Servers, without_login
from infra.launcher.readiness import wait_until_ready
from infra.launcher.redis import redis
from infra.launcher.rolling import is_as_well_as
from infra.launcher.seed import NotOurs, seed
from infra.launcher.servers import start_servers
from infra.launcher.services import Addresses
from infra.launcher.signing import keep_forgetting
from infra.launcher.state import State
from infra.launcher.supervisor import Supervisor

PROFILES = ("monitoring", "redis")
"""What `up` starts only when it is told to."""


class Platform:
    """Everything `up` starts. `runtime.json` tells its addresses and processes for as long as it runs."""

    def __init__(
        self,
        state: State,
        progress: Progress,
        *,
        servers_only: bool = False,
        without: Collection[str] = (),
        profiles: Collection[str] = (),
        certificate: Certificate | None = None,
    ) -> None:
        self._state = state
        self._progress = progress
        self._servers_only = servers_only
        self._services = [name for name in services.BUSINESS if name not in without]
        self._supervisor = Supervisor(progress.say, self._record)
        self._profiles = profiles
        self._certificate = certificate
        self._addresses: dict[str, str | None] = {}
        self._programs: dict[str, Program] = {}
        self._metrics: dict[str, int] = {}
        self._beside: list[asyncio.Task[None]] = []
        self._is_ready = False
        self._replacing = asyncio.Lock()
        self._listener: socket.socket | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started, ready and seeded inside the block; after it nothing that was started is left."""
        try:
            await self._start()
            self._is_ready = True
            async with told_at(self.replace) as place:
                self._addresses["control"] = place
                self._record()
                yield
        finally:
            for task in self._beside:
                task.cancel()
            # Where nothing was started, the reason for that is all there is to say.
            if self._is_ready or self._supervisor.has_started:
                with self._progress.step("Stopping", "Everything is stopped"):
                    await self._supervisor.stop()
            if self._listener is not None:
                self._listener.close()
            (self._state.folder / "runtime.json").unlink(missing_ok=True)

    async def replace(self, name: str) -> None:
        """A new process of a service or of the edge, beside the old one until it serves. Raises `Failure`."""
        async with self._replacing:
            program, old = self._programs[name], self._metrics[name]
            # The old one's port is taken, so this is another.
            new = await asyncio.to_thread(self._state.port, f"metrics.{name}")
            await self._supervisor.replace(
                services.with_metrics(program, new), lambda: asyncio.to_thread(is_as_well_as, new, old)
            )
            self._metrics[name] = new
            self._record()

    async def _start(self) -> None:
        servers = await start_servers(self._state, self._supervisor, self._progress)
        self._addresses |= asdict(servers)
        if "monitoring" in self._profiles:
            await self._start_prometheus()
        if "redis" in self._profiles:
            await self._start_redis()
        if not self._servers_only:
            with self._progress.step("Starting the services", "Services and edge are ready"):
                await self._start_services(servers)
            if {"users", "catalog"} <= set(self._services):
                await asyncio.to_thread(self._seed)
        self._record()
        self._progress.block("Hedgerow is ready", self._ready())

    async def _start_services(self, servers: Servers) -> None:
        port, gateway_port = services.edge_port(), self._state.port("gateway")
        certificate = self._certificate
        addresses = Addresses(
            f"{'https' if certificate else 'http'}://127.0.0.1:{port}",
            f"http://127.0.0.1:{gateway_port}",
            str(certificate.chain) if certificate else None,
        )
        stripe = stripe_settings()
        self._addresses |= asdict(addresses) | {"payments": who_is_paid(stripe)}
        self._listener = services.edge_listener(port)
        sandbox = [] if stripe else [asyncio.to_thread(services.gateway, self._state, addresses)]
        programs = await asyncio.gather(
            *sandbox,
            *(asyncio.to_thread(services.worker, self._state, servers, addresses, name) for name in self._services),
            asyncio.to_thread(
                services.edge,
                self._state,
                servers,
                port,
                self._addresses.get("redis"),
                certificate=certificate,
                listener=self._listener,
            ),
        )
        await self._upgrade(programs)
        for name in (*self._services, "edge"):
            self._metrics[name] = self._state.port(f"metrics.{name}")
        self._programs = {program.name: program for program in programs}
        for program in programs:
            page = self._metrics.get(program.name)
            await self._supervisor.start(program if page is None else services.with_metrics(program, page))
        self._beside.append(asyncio.create_task(keep_forgetting(self._state)))
        staff = self._state.read("admin.json")
        await wait_until_ready(addresses, self._services, staff, self._supervisor.check, within=60)

    async def _upgrade(self, programs: Iterable[Program]) -> None:
        """All tables at once: by itself, each service would start a process for its own."""
        urls = {
            program.name: program.environment["HEDGEROW_DATABASE_URL"]
            for program in programs
            if program.name in self._services
        }
        try:
            await migrate_all([(url, f"workers.{name}.migrations") for name, url in urls.items()])
        except MigrationError as error:
            raise Failure(f"The tables can't be brought up to date: {error}.") from error

    async def _start_prometheus(self) -> None:
        with self._progress.step("Starting Prometheus", "Prometheus is ready"):
            if will_fetch():
                self._progress.say("Fetching Prometheus from Debian's packages (about 30 MB).")
            self._addresses["prometheus"], program = await asyncio.to_thread(prometheus, self._state)
            await self._supervisor.start(program)
        self._beside.append(asyncio.create_task(keep_targets(self._state, self._metrics)))

    async def _start_redis(self) -> None:
        with self._progress.step("Starting Redis", "Redis is ready"):
            self._addresses["redis"], program = await asyncio.to_thread(redis, self._state)
            await self._supervisor.start(program)

    def _seed(self) -> None:
        try:
            added = seed(self._state.read("admin.json"), str(self._addresses["edge"]), self._addresses["certificate"])
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
        metrics = {name: f"http://127.0.0.1:{port}/metrics" for name, port in self._metrics.items()}
        known = {**self._addresses, "metrics": metrics, "processes": processes, "servers": own_servers}
        self._state.write("runtime.json", known)

    def _ready(self) -> dict[str, str]:
        stop, runtime = "./justw down (or Ctrl-C)", shown(self._state.folder / "runtime.json")
        monitoring = {"Prometheus": url} if (url := self._addresses.get("prometheus")) else {}
        if self._servers_only:
            return {"addresses": runtime, **monitoring, "stop": stop}
        lines = {"edge": str(self._addresses["edge"]), "routes": f"{self._addresses['edge']}/openapi.json"}
        certificate = self._addresses["certificate"]
        if certificate and Path(certificate).is_relative_to(self._state.folder):
            lines["trust"] = f"{shown(Path(certificate))} (made for this machine)"
        if management := self._addresses["rabbitmq_management"]:
            login = f"login {urlsplit(management).username}, password in {runtime}"
            lines["RabbitMQ"] = f"{without_login(management)} ({login})"
        lines["payments"] = str(self._addresses["payments"])
        staff = f"{shown(self._state.folder / 'admin.json')} (email and password)"
        return lines | monitoring | {"staff": staff, "stop": stop, "next": "./justw demo"}
