"""A private RabbitMQ node: its own ports, cookie, data, logs and name service; it neither sees nor touches another."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from infra.launcher.program import Program
from infra.launcher.state import REPOSITORY, State

_TEMPLATE = REPOSITORY / "infra" / "broker" / "rabbitmq.conf"
_PORTS = ("amqp", "management", "distribution", "epmd")
# Schedulers that spin while idle take the processor from the services on a small machine.
_ERLANG = "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"


@dataclass(frozen=True)
class PrivateNode:
    """The programs of one node and the addresses it answers at."""

    amqp: str
    management: str
    name_service: Program
    server: Program
    control: Path

    @property
    def programs(self) -> tuple[Program, ...]:
        """In the order in which to start them: a node that finds no name service starts one of its own."""
        return (self.name_service, self.server)

    def rabbitmqctl(self, *arguments: str) -> str:
        """Run the node's own rabbitmqctl and answer what it prints; raises `subprocess.SubprocessError` where it fails
        or takes longer than a minute."""
        environment = self.server.popen_arguments()["env"]
        command = [str(self.control / "rabbitmqctl"), *arguments]
        done = subprocess.run(command, env=environment, cwd="/", check=True, capture_output=True, text=True, timeout=60)
        return done.stdout


def private_node(
    state: State, scripts: Path, *, erlang: Path | None = None, libraries: Path | None = None
) -> PrivateNode:
    """Prepare a node run by the `scripts` folder (`sbin` of RabbitMQ), with `erl` found in `erlang`, else in PATH."""
    folder = state.folder / "rabbitmq"
    ports = {name: state.port(f"rabbitmq.{name}") for name in _PORTS}
    password = state.secret("rabbitmq.hedgerow")
    _write_configuration(state, ports, password)
    path = os.pathsep.join([str(erlang)] * bool(erlang) + [os.environ.get("PATH", os.defpath)])
    environment = _environment(folder, ports) | {"PATH": path}
    if libraries:
        environment["LD_LIBRARY_PATH"] = str(libraries)
    server = Program(
        name="rabbitmq",
        command=(str(scripts / "rabbitmq-server"),),
        environment=environment,
        log=state.logs / "rabbitmq.log",
        state=state.folder,
        listens_on=ports["amqp"],
        orphaned=signal.SIGTERM,
        grace=30,
    )
    epmd = shutil.which("epmd", path=path) or "epmd"
    name_service = replace(
        server,
        name="epmd",
        command=(epmd, "-port", str(ports["epmd"]), "-address", "127.0.0.1"),
        log=state.logs / "epmd.log",
        listens_on=ports["epmd"],
    )
    return PrivateNode(
        amqp=f"amqp://hedgerow:{password}@127.0.0.1:{ports['amqp']}/%2F",
        management=f"http://hedgerow:{password}@127.0.0.1:{ports['management']}",
        name_service=name_service,
        server=server,
        control=scripts,
    )


def _write_configuration(state: State, ports: dict[str, int], password: str) -> None:
    addresses = {"amqp_port": ports["amqp"], "management_port": ports["management"], "password": password}
    state.write_text("rabbitmq/rabbitmq.conf", _TEMPLATE.read_text().format_map(addresses))
    state.write_text("rabbitmq/enabled_plugins", "[rabbitmq_management].\n")
    state.write_text("rabbitmq/environment.conf", "")
    cookie = state.write_text("rabbitmq/.erlang.cookie", state.secret("rabbitmq.cookie"))
    cookie.chmod(0o400)


def _environment(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "ERL_EPMD_PORT": str(ports["epmd"]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "hedgerow@localhost",
        "RABBITMQ_NODE_PORT": str(ports["amqp"]),
        "RABBITMQ_DIST_PORT": str(ports["distribution"]),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "environment.conf"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
        # The script becomes the server instead of staying as its parent: the pid we start is the pid we stop.
        "RUNNING_UNDER_SYSTEMD": "1",
    }
