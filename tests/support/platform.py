"""The whole platform for tests, started by the real launcher.

It has a state folder, a port, a virtual host and a database of its own, so that it never meets a platform that a
developer runs in the same tree.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

import httpx

from broker.logs import FIELDS
from edge_api.limits import DEFAULTS
from infra.launcher.leftovers import end_leftovers
from infra.launcher.lock import running_launcher
from infra.launcher.program import Program
from infra.launcher.provision import Servers, provision_service, vhost_of
from infra.launcher.services import Addresses, edge, worker
from infra.launcher.state import REPOSITORY, State, any_free_port
from tests.support.servers import RealServers

WIDE = " ".join(f"{name}=1000000000/1" for name in DEFAULTS)
"""Limits that are kept like any others, and that no test or bench reaches."""
Done = subprocess.CompletedProcess[str]
Process = subprocess.Popen[bytes]


class Platform:
    """One platform: its launcher, its processes by name, what they logged, and what the gateway did with the money.

    Without `servers` it runs on its own, which the launcher starts and keeps running.
    """

    def __init__(
        self, folder: Path, servers: Servers | None = None, *, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.state = State(folder)
        self._given = servers
        self._settings = settings
        self.port = any_free_port()
        self.edge = f"http://127.0.0.1:{self.port}"
        self._by_hand = 0

    @property
    def servers(self) -> Servers:
        """The administrator's addresses."""
        runtime = self.state.read("runtime.json") if self._given is None else {}
        return self._given or Servers(*(runtime[name] for name in ("amqp", "rabbitmq_management", "database")))

    @property
    def environment(self) -> dict[str, str]:
        """What the launcher is told, and nothing that the developer's shell says about another platform."""
        known = {name: value for name, value in os.environ.items() if not name.startswith("HEDGEROW_")}
        told = {"HEDGEROW_STATE": str(self.state.folder), "HEDGEROW_PORT": str(self.port)}
        told |= {"HEDGEROW_LIMITS": WIDE, **self._settings}
        if self._given is not None:
            told["HEDGEROW_AMQP_URL"] = self._given.amqp
            told["HEDGEROW_RABBITMQ_MANAGEMENT_URL"] = self._given.rabbitmq_management or ""
            told["HEDGEROW_DATABASE_URL"] = self._given.database
        return known | told

    def launcher(self, *arguments: str) -> Done:
        """Run one launcher command to its end."""
        command = [sys.executable, "-m", "infra.launcher", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=100
        )

    @property
    def pids(self) -> dict[str, int]:
        """The processes that the launcher keeps running, by name."""
        return {name: int(pid) for name, pid in self.state.read("runtime.json")["processes"].items()}

    @property
    def server_pids(self) -> dict[str, int]:
        """The processes of its own servers, by name."""
        return {name: int(pid) for name, pid in self.state.read("runtime.json")["servers"].items()}

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> int:
        """End a process, or a server of its own, without a warning; returns the pid it had."""
        pid = {**self.server_pids, **self.pids}[name]
        os.kill(pid, how)
        return pid

    def start_instance(self, service: str) -> Process:
        """One more instance of a business service, with the credentials that the launcher gave to the service."""
        addresses = Addresses(self.edge, f"http://127.0.0.1:{self.state.read('ports.json')['gateway']}")
        return self._start(worker(self.state, self.servers, addresses, service))

    def start_program(self, service: str, *command: str) -> Process:
        """A service from outside, with credentials of its own, run by this command."""
        accounts = provision_service(self.state, self.servers, service)
        told = {"HEDGEROW_AMQP_URL": accounts.amqp_url, "HEDGEROW_DATABASE_URL": accounts.database_url}
        told["PYTHONPATH"] = str(REPOSITORY)
        return self._start(
            Program(name=service, command=command, environment=told, log=self.state.logs, state=self.state.folder)
        )

    def start_edge(self) -> tuple[Process, str]:
        """One more edge, and its address."""
        port = any_free_port()
        program = edge(self.state, self.servers, port)
        told = {"HEDGEROW_LIMITS": WIDE, **self._settings, **program.environment}
        return self._start(replace(program, environment=told)), f"http://127.0.0.1:{port}"

    def ledger(self) -> list[dict[str, Any]]:
        """What happened to the money, oldest first: kind, amount, currency and reference (the order's id)."""
        return list(self.gateway("GET", "ledger")["data"])

    def script_webhooks(self, **script: Any) -> None:
        """How the gateway's webhooks behave from now on; without a word, as usual."""
        self.gateway("PUT", "webhooks", script)

    def gateway(self, method: Literal["GET", "PUT"], what: str, body: Any = None) -> Any:
        """What the sandbox gateway says to its administrator."""
        port, key = self.state.read("ports.json")["gateway"], self.state.secret("gateway.key")
        url, headers = f"http://127.0.0.1:{port}/v1/{what}", {"Authorization": f"Bearer {key}"}
        answer = httpx.request(method, url, json=body, headers=headers, timeout=10, trust_env=False)
        return answer.raise_for_status().json()

    def broker(self, kind: Literal["consumers", "channels", "queues"]) -> Any:
        """What RabbitMQ's management API knows of this platform's consumers, channels or queues."""
        assert self.servers.rabbitmq_management
        place = urlsplit(self.servers.rabbitmq_management)
        vhost = quote(vhost_of(self.servers.amqp), safe="")
        path = f"/api/vhosts/{vhost}/channels" if kind == "channels" else f"/api/{kind}/{vhost}"
        login = (unquote(place.username or ""), unquote(place.password or ""))
        url = f"http://{place.hostname}:{place.port}{path}"
        return httpx.get(url, auth=login, timeout=10, trust_env=False).raise_for_status().json()

    def log(self, name: str) -> list[dict[str, Any]]:
        """What a process, its killed predecessors included, wrote, by the names of the code: a line that is no JSON is
        `{"event": line}`."""
        lines = (self.state.logs / f"{name}.log").read_text(errors="replace").splitlines()
        return [_entry(line) for line in lines if line]

    def logs(self) -> dict[str, list[dict[str, Any]]]:
        """The logs of all processes, by name."""
        return {path.stem: self.log(path.stem) for path in self.state.logs.glob("*.log") if path.stem != "launcher"}

    def _start(self, program: Program) -> Process:
        self._by_hand += 1
        name = f"{program.name}-by-hand-{self._by_hand}"
        return replace(program, name=name, log=self.state.logs / f"{name}.log").start()


@contextmanager
def running_platform(
    folder: Path, servers: Servers | None, *arguments: str, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Platform]:
    """A platform that is ready, started by `up` with these arguments; it is killed after the block."""
    with ending(Platform(folder, servers, settings=settings)) as platform:
        up = platform.launcher("up", "--detach", *arguments)
        assert up.returncode == 0, f"the platform did not start: {up.stdout}{up.stderr}"
        yield platform


@contextmanager
def on_shared_servers(
    servers: RealServers, folder: Path, *arguments: str, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Platform]:
    """A platform in a virtual host and a database of its own."""
    amqp, database = servers.new_vhost(), servers.new_database()
    mine = Servers(amqp, servers.rabbitmq_management, database)
    try:
        with running_platform(folder, mine, *arguments, settings=settings) as platform:
            yield platform
    finally:
        servers.drop_vhost(amqp)
        servers.drop_database(database)


@contextmanager
def ending(platform: Platform) -> Iterator[Platform]:
    """Whatever of it runs is killed after the block."""
    try:
        yield platform
    finally:
        if launcher := running_launcher(platform.state):
            os.kill(launcher, signal.SIGKILL)
        end_leftovers(platform.state.folder, within=0)


def end(process: Process, how: signal.Signals = signal.SIGTERM, *, within: float = 20) -> int:
    """Signal a process that was started by hand and wait for its exit code."""
    if process.poll() is None:
        process.send_signal(how)
    return process.wait(within)


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {"event": line}
    if not isinstance(entry, dict):
        return {"event": line}
    names = {field: name for name, field in FIELDS.items()}
    return {names.get(field, field.removeprefix("labels.")): fact for field, fact in entry.items()}
