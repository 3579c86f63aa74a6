"""Where the broker comes from: a given address, the machine's RabbitMQ, Debian's packages, Docker, in this order."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from infra.launcher.container import can_run_containers, rabbitmq_container
from infra.launcher.failure import Failure
from infra.launcher.node import PrivateNode, private_node
from infra.launcher.packages import can_unpack, unpack_rabbitmq
from infra.launcher.program import Program
from infra.launcher.state import PACKAGES, State


@dataclass(frozen=True)
class Broker:
    """A login that may use everything, the management API where known, and what to run when the broker is ours."""

    amqp: str
    management: str | None
    programs: tuple[Program, ...] = ()
    node: PrivateNode | None = None


def find_broker(state: State, *, containers: bool = True) -> Broker:
    """The first broker of the list above that can be had; raises `Failure` when none can."""
    if given := os.environ.get("HEDGEROW_AMQP_URL"):
        return Broker(given, os.environ.get("HEDGEROW_RABBITMQ_MANAGEMENT_URL"))
    try:
        node = private_broker(state)
    except Failure as failure:
        if containers and can_run_containers():
            return Broker(*rabbitmq_container(state))
        reason = str(failure).rstrip(".")
        raise Failure(f"No broker: {reason}. Install rabbitmq-server or Docker, or set HEDGEROW_AMQP_URL.") from failure
    return Broker(node.amqp, node.management, node.programs, node)


def private_broker(state: State) -> PrivateNode:
    """A node from the machine's own RabbitMQ, else from its distribution's packages."""
    if scripts := installed_scripts():
        return private_node(state, scripts)
    if can_unpack():
        return unpacked_node(state, PACKAGES)
    raise Failure("this machine has no RabbitMQ and can't unpack Debian's packages.")


def will_fetch_packages() -> bool:
    """Whether `find_broker` is going to download Debian's packages."""
    has_broker = os.environ.get("HEDGEROW_AMQP_URL") or installed_scripts() or (PACKAGES / "rabbitmq").is_dir()
    return not has_broker and can_unpack()


def installed_scripts() -> Path | None:
    """The `sbin` folder of the machine's RabbitMQ; never Debian's /usr/sbin wrapper, which changes the user."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if in_path := shutil.which(
        "rabbitmq-server", path=f"{os.environ.get('PATH', '')}:/opt/homebrew/sbin:/usr/local/sbin"
    ):
        found.insert(0, Path(in_path).resolve())
    scripts = [script.parent for script in found if (script.parent / "rabbitmq-defaults").exists()]
    return scripts[-1] if scripts and shutil.which("erl") else None


def unpacked_node(state: State, packages: Path) -> PrivateNode:
    """A private node from the distribution's packages, unpacked into the folder `packages` unless they are there."""
    root = unpack_rabbitmq(packages)
    scripts = next(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"))
    libraries = next(root.glob("usr/lib/*-linux-gnu*"), None)
    return private_node(state, scripts, erlang=root / "usr" / "bin", libraries=libraries)
