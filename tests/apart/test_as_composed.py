"""The platform as compose.yaml starts it: its commands and its settings as they stand, on this machine's ports."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from infra.containers.provisioning import provision
from infra.containers.secrets import Hosts, make_secrets
from infra.launcher.state import REPOSITORY, any_free_port
from tests.infra.containers.composed import composed, program
from tests.support.eventually import eventually
from tests.support.servers import RealServers
from tests.system.first_order import order_once

PROGRAMS = ("gateway", "users", "catalog", "orders", "payments", "edge")


class Containers:
    """Processes in the place of containers: each with the command, the settings and the secrets of its service."""

    def __init__(self, secrets: Path, data: Path) -> None:
        self.secrets = secrets
        self._data = data
        self.ports = {name: any_free_port() for name in PROGRAMS}
        self._metrics = {name: any_free_port() for name in PROGRAMS}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """From `docker start` to `docker stop`."""
        with (self._data / f"{name}.log").open("wb") as log:
            command = self._here(name, program(composed()["services"][name]))
            process = subprocess.Popen(command, env=self._environment(name), cwd=self._data, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(timeout=20) == 0, (self._data / f"{name}.log").read_text()[-2000:]

    def problem(self, name: str) -> str:
        """What its HEALTHCHECK, its own or the image's, finds wrong; nothing where all is well."""
        check = composed()["services"][name].get("healthcheck", {}).get("test")
        command = check[1:] if check else ["python", "-m", "infra.containers", "healthy"]
        done = subprocess.run(self._here(name, command), env=self._environment(name), capture_output=True, text=True)
        return done.stderr if done.returncode else ""

    def _here(self, name: str, command: list[str]) -> list[str]:
        assert command[0] == "python"
        return [sys.executable, *(self._on_this_machine(word) for word in command[1:])]

    def _environment(self, name: str) -> dict[str, str]:
        told = composed()["services"][name]["environment"]
        ours = {setting: self._on_this_machine(str(value)) for setting, value in told.items() if value is not None}
        files = {
            setting: value.replace("/secrets", str(self.secrets / name))
            for setting, value in ours.items()
            if value.startswith("/secrets/")
        }
        here = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "HEDGEROW_PORT": str(self.ports["edge"]),
            "HEDGEROW_METRICS_PORT": str(self._metrics[name]),
            "HEDGEROW_MAIL_FOLDER": str(self._data / "mail"),
        }
        return here | ours | files

    def _on_this_machine(self, value: str) -> str:
        for of_the_container, here in (
            ("edge:8080", f"127.0.0.1:{self.ports['edge']}"),
            ("127.0.0.1:8080", f"127.0.0.1:{self.ports['edge']}"),
            ("gateway:8090", f"127.0.0.1:{self.ports['gateway']}"),
            ("8090", str(self.ports["gateway"])),
            ("/var/lib/hedgerow/gateway", str(self._data)),
        ):
            value = value.replace(of_the_container, here)
        return value


@pytest.fixture
def containers(servers: RealServers, tmp_path: Path) -> Iterator[Containers]:
    """What is there when the one-shots have ended: secrets, logins, exchanges and tables."""
    amqp, database = servers.new_vhost(), servers.new_database()
    given = tmp_path / "given" / "provision"
    given.mkdir(parents=True)
    for server, url in (("amqp", amqp), ("management", servers.rabbitmq_management), ("database", database)):
        (given / f"{server}-url").write_text(url)
    make_secrets(tmp_path / "secrets", Hosts(), given.parent)
    (tmp_path / "secrets" / "edge" / "redis-url").chmod(0o644)
    (tmp_path / "secrets" / "edge" / "redis-url").write_text("")  # there is none here, and one edge needs none
    try:
        provision(tmp_path / "secrets")
        yield Containers(tmp_path / "secrets", tmp_path)
    finally:
        servers.drop_vhost(amqp)
        servers.drop_database(database)


async def test_a_platform_as_composed_becomes_healthy_and_confirms_an_order(containers: Containers) -> None:
    with ExitStack() as running:
        for name in PROGRAMS:
            running.enter_context(containers.running(name))
        for name in PROGRAMS:

            async def is_healthy(name: str = name) -> bool:
                assert containers.problem(name) == ""
                return True

            await eventually(is_healthy, within=60, every=1)
        administrator = json.loads((containers.secrets / "users" / "administrator.json").read_text())
        await order_once(f"http://127.0.0.1:{containers.ports['edge']}", **administrator)
