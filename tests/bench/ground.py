"""Servers and programs of the bench's own.

Promise: they are started for one piece of the bench in a fresh folder under `.hedgerow/bench/`, know nothing of the
platform that a developer runs, and end with the piece, also when it fails or is interrupted.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import psutil

from infra.launcher.failure import Failure
from infra.launcher.leftovers import end_leftovers
from infra.launcher.management import Management
from infra.launcher.program import Program
from infra.launcher.state import REPOSITORY, State
from tests.support.platform import WIDE

FOLDER = REPOSITORY / ".hedgerow" / "bench"
PASSED_ON = ("HEDGEROW_AMQP_URL", "HEDGEROW_RABBITMQ_MANAGEMENT_URL", "HEDGEROW_LANE")
"""What may be chosen from outside: another broker, and what carries the lane."""
_READY = "Hedgerow is ready"


@dataclass(frozen=True)
class Ground:
    """What the launcher started, and a place to start more."""

    state: State
    runtime: dict[str, Any]
    took: float
    programs: State = field(default_factory=lambda: State(FOLDER / "programs"))
    vhosts: list[str] = field(default_factory=list)

    def vhost(self, name: str) -> str:
        """The AMQP address of an empty virtual host."""
        parts = urlsplit(str(self.runtime["amqp"]))
        with self.management() as management:
            management.make_vhost(name, administrator=unquote(parts.username or "guest"))
        self.vhosts.append(name)
        return urlunsplit(parts._replace(path=f"/{quote(name, safe='')}"))

    def tidy_up(self) -> None:
        """Remove the virtual hosts from a broker that was here before us; our own is thrown away as a whole."""
        if "HEDGEROW_AMQP_URL" in os.environ:
            with self.management() as management:
                for name in self.vhosts:
                    management.drop_vhost(name)

    @property
    def passed_on(self) -> dict[str, str]:
        """What every program is told."""
        return _passed_on()

    def management(self) -> Management:
        """The broker's management API."""
        return Management(str(self.runtime["rabbitmq_management"]))

    @contextmanager
    def running(
        self, name: str, *command: str, told: Mapping[str, str], listens_on: int | None = None
    ) -> Iterator[int]:
        """A program with this environment, for as long as the block lasts; its pid."""
        program = Program(
            name=name,
            command=command,
            environment={**self.passed_on, **told},
            log=self.log(name),
            state=self.programs.folder,
            listens_on=listens_on,
        )
        with running(program) as process:
            yield process.pid

    @property
    def processes(self) -> dict[str, int]:
        """The pids of what the launcher keeps running, servers included, by name."""
        return {**self.runtime["processes"], **self.runtime["servers"]}

    def family(self, name: str) -> list[psutil.Process]:
        """A process of these and its children."""
        parent = psutil.Process(self.processes[name])
        return [parent, *parent.children(recursive=True)]

    def step_took(self, done: str) -> float:
        """How long the launcher says that one of its steps took, in seconds."""
        said = re.search(rf"{re.escape(done)} \(([\d.]+) s\)", (self.state.logs / "launcher.log").read_text())
        if said is None:
            raise Failure(f"The launcher did not say {done!r}.")
        return float(said[1])

    def log(self, name: str) -> Path:
        """What a program writes."""
        return self.programs.logs / f"{name}.log"


@contextmanager
def ground(*arguments: str, port: int | None = None, fresh: bool = True) -> Iterator[Ground]:
    """`up` with these arguments, in a fresh folder (or that of last time), for as long as the block lasts."""
    _sweep(contents=fresh)
    state = State(FOLDER / "platform")
    (state.logs / "launcher.log").unlink(missing_ok=True)
    program = Program(
        name="launcher",
        command=(sys.executable, "-m", "infra.launcher", "up", *arguments),
        environment=_passed_on()
        | {"HEDGEROW_LIMITS": WIDE, "HEDGEROW_STATE": str(state.folder), "HEDGEROW_PORT": str(port or 8080)},
        log=state.logs / "up.log",
        state=FOLDER,
        orphaned=signal.SIGTERM,
        grace=90,
    )
    began = time.monotonic()
    with running(program) as process:
        while _READY not in program.log.read_text():
            if process.poll() is not None or time.monotonic() - began > 180:
                raise program.failure()
            time.sleep(0.02)
        here = Ground(state, state.read("runtime.json"), time.monotonic() - began)
        if not here.runtime["rabbitmq_management"]:
            raise Failure("The bench needs HEDGEROW_RABBITMQ_MANAGEMENT_URL beside HEDGEROW_AMQP_URL.")
        try:
            yield here
        finally:
            here.tidy_up()


@contextmanager
def running(program: Program) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for as long as the block lasts."""
    program.log.unlink(missing_ok=True)
    process = program.start()
    try:
        yield process
    finally:
        process.send_signal(program.end_with)
        try:
            process.wait(program.grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def one_shot(*command: str, within: float, **environment: str) -> str:
    """Run a program to its end; what it prints. Raises `Failure`."""
    done = subprocess.run(
        command, env=os.environ | environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=within
    )
    if done.returncode:
        raise Failure(f"{' '.join(command[1:])} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _passed_on() -> dict[str, str]:
    known = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return known | {"PYTHONPATH": str(REPOSITORY)}


def _sweep(*, contents: bool) -> None:
    """What an earlier bench left: its processes (if it was killed) and its data."""
    for folder in (FOLDER / "programs", FOLDER / "platform", FOLDER):
        end_leftovers(folder)
    if not contents:
        return
    for server in ("rabbitmq", "postgresql"):
        shutil.rmtree((FOLDER / "platform" / server).resolve(), ignore_errors=True)
    shutil.rmtree(FOLDER / "platform", ignore_errors=True)
