"""A real RabbitMQ and a real PostgreSQL for tests, found in the same order as `up` finds them.

Those of the folder `.hedgerow/tests/` are shared by all test runs of this tree: the first run starts them, the last one
to leave stops them (HEDGEROW_KEEP_SERVERS=1: leaves them running). To hurt a broker, take one from rabbitmq.py.
"""

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NoReturn
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import pytest

from infra.launcher.container import IMAGE, can_run_containers
from infra.launcher.failure import Failure
from infra.launcher.leftovers import end_leftovers, leftovers
from infra.launcher.management import Management
from infra.launcher.postgresql import find_database
from infra.launcher.provision import vhost_of
from infra.launcher.rabbitmq import Broker, find_broker
from infra.launcher.schemas import drop_database, make_database
from infra.launcher.state import REPOSITORY, State

FOLDER = REPOSITORY / ".hedgerow" / "tests"
MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes, many times what a run leaves there."""


@dataclass(frozen=True)
class RealServers:
    """The administrator's addresses, and fresh corners of both servers to work in."""

    amqp: str
    rabbitmq_management: str
    database: str

    def new_vhost(self) -> str:
        """A fresh virtual host's AMQP address, for the login that may use everything; with the delivery limit."""
        vhost = f"test-{secrets.token_hex(6)}"
        with Management(self.rabbitmq_management) as management:
            management.make_vhost(vhost, administrator=unquote(urlsplit(self.amqp).username or "guest"))
        return urlunsplit(urlsplit(self.amqp)._replace(path=f"/{quote(vhost, safe='')}"))

    def drop_vhost(self, amqp: str) -> None:
        """Remove the virtual host of this address, the logins that services got in it, and everything else in it."""
        with Management(self.rabbitmq_management) as management:
            management.drop_vhost(vhost_of(amqp))

    def new_database(self, template: str = "template1") -> str:
        """The administrator's address of a fresh database, a copy of another one where a template is named."""
        return make_database(self.database, f"test_{secrets.token_hex(6)}", template=template)

    def drop_database(self, url: str) -> None:
        """Remove the database of this address, and the roles that were made for it."""
        drop_database(self.database, urlsplit(url).path[1:])


@contextmanager
def servers() -> Iterator[RealServers]:
    """The shared servers, up for as long as the block lasts; skips the test without them, and fails it under CI."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(_shared())
        except Failure as failure:
            skip_or_fail(failure)
        yield found


def skip_or_fail(failure: Failure) -> NoReturn:
    """On a developer's machine a missing server is a reason to skip; under CI it is a failure."""
    if os.environ.get("CI"):
        pytest.fail(str(failure), pytrace=False)
    pytest.skip(str(failure))


@contextmanager
def _shared() -> Iterator[RealServers]:
    """Users hold a shared lock; whoever can have it alone may start or stop the servers."""
    state = State(FOLDER)
    with (state.folder / "users.lock").open("w") as users, ExitStack() as stack:
        try:
            yield _join(state, users, stack)
        finally:
            if not os.environ.get("HEDGEROW_KEEP_SERVERS") and _alone(users):
                _throw_away(state)


def _join(state: State, users: IO[str], stack: ExitStack) -> RealServers:
    with (state.folder / "start.lock").open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        known = state.read("runtime.json")
        if known and {"epmd", "beam.smp", "postgres"} <= {process.name() for process in leftovers(state.folder)}:
            return RealServers(**known)
        _throw_away(state)
        return _start(state, stack)


def _throw_away(state: State) -> None:
    """Killed, not stopped: RabbitMQ takes six seconds to stop, and nobody needs what it holds."""
    end_leftovers(state.folder, within=0)
    (state.folder / "runtime.json").unlink(missing_ok=True)
    for data in ("rabbitmq/data", "rabbitmq", "postgresql"):
        shutil.rmtree((state.folder / data).resolve(), ignore_errors=True)


def _start(state: State, stack: ExitStack) -> RealServers:
    database = find_database(state, durable=False)
    _keep_in_memory(state.folder / "rabbitmq" / "data")
    broker = _broker(state, stack)
    own = [database.program] if database.program else []
    for program in (*own, *broker.programs):
        # Whoever leaves last ends it; nobody is to complain that it still runs.
        replace(program, outlives=True).start().returncode = 0
    if broker.management is None:
        raise Failure("Tests need HEDGEROW_RABBITMQ_MANAGEMENT_URL beside HEDGEROW_AMQP_URL: they make virtual hosts.")
    with Management(broker.management) as management:
        management.wait(within=60)
    found = RealServers(broker.amqp, broker.management, database.url)
    if broker.programs and database.program:
        state.write("runtime.json", vars(found))
    return found


def _keep_in_memory(data: Path) -> None:
    """Let this folder be one in memory where there is room for it: RabbitMQ can't be told not to wait for the disk, and
    tests need nothing that survives the machine."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        data.parent.mkdir(exist_ok=True)
        data.symlink_to(tempfile.mkdtemp(prefix="hedgerow-tests-", dir=MEMORY))


def _broker(state: State, stack: ExitStack) -> Broker:
    try:
        return find_broker(state, containers=False)
    except Failure:
        if not can_run_containers():
            raise
    return _container(stack)


def _container(stack: ExitStack) -> Broker:
    # Imported here: without Docker nobody needs it, and it is slow.
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(IMAGE).with_exposed_ports(5672, 15672)
    container.with_env("RABBITMQ_DEFAULT_USER", "hedgerow").with_env("RABBITMQ_DEFAULT_PASS", "hedgerow")
    stack.enter_context(container)
    place, amqp, management = container.get_container_host_ip(), *map(container.get_exposed_port, (5672, 15672))
    return Broker(f"amqp://hedgerow:hedgerow@{place}:{amqp}/%2F", f"http://hedgerow:hedgerow@{place}:{management}")


def _alone(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
