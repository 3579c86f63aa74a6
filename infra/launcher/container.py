"""RabbitMQ in a Docker container, for machines that are not Debian's kin: seen from outside, one more program."""

import shutil
import signal
import subprocess
from hashlib import sha256

from infra.launcher.program import Program
from infra.launcher.state import State

IMAGE = "rabbitmq:4-management"


def can_run_containers() -> bool:
    """Whether a Docker daemon answers."""
    return bool(_docker()) and subprocess.run([_docker(), "info"], capture_output=True, check=False).returncode == 0


def _docker() -> str:
    return shutil.which("docker") or ""


def rabbitmq_container(state: State) -> tuple[str, str, tuple[Program, ...]]:
    """The AMQP and management addresses, and the program: `docker run` in the foreground, which passes signals on."""
    name = f"hedgerow-{sha256(str(state.folder).encode()).hexdigest()[:12]}"
    amqp, management = state.port("rabbitmq.amqp"), state.port("rabbitmq.management")
    password = state.secret("rabbitmq.hedgerow")
    subprocess.run([_docker(), "rm", "--force", name], capture_output=True, check=False)
    command = f"{_docker()} run --rm --name {name} --hostname hedgerow --volume {name}:/var/lib/rabbitmq"
    command += f" --publish 127.0.0.1:{amqp}:5672 --publish 127.0.0.1:{management}:15672"
    command += f" --env RABBITMQ_DEFAULT_USER --env RABBITMQ_DEFAULT_PASS {IMAGE}"
    program = Program(
        name="rabbitmq",
        command=tuple(command.split()),
        environment={"RABBITMQ_DEFAULT_USER": "hedgerow", "RABBITMQ_DEFAULT_PASS": password},
        log=state.logs / "rabbitmq.log",
        state=state.folder,
        listens_on=amqp,
        orphaned=signal.SIGTERM,
        grace=30,
    )
    login = f"hedgerow:{password}@127.0.0.1"
    return f"amqp://{login}:{amqp}/%2F", f"http://{login}:{management}", (program,)
