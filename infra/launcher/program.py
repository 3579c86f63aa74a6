"""One program to run: what it is called, how it is started, and how it is asked to end."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.launcher.failure import Failure

_PR_SET_PDEATHSIG = 1
_PASSED_ON = (
    "HEDGEROW_DRILL",
    "HEDGEROW_LANE",
    "HEDGEROW_LOGS_TCP",
    "HEDGEROW_PAYMENT_TIMEOUT",
    "HEDGEROW_CUSTOMER_TIMEOUT",
    "HEDGEROW_TARIFFS",
    "HEDGEROW_SMTP_URL",
    "HEDGEROW_MAIL_FROM",
    "HEDGEROW_GATEWAY_QUIET_AFTER",
    "HEDGEROW_GATEWAY_SETTLED_AFTER",
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
STATE_MARK = "HEDGEROW_LAUNCHED_FROM"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command with its environment; it lives no longer than whoever started it, unless `outlives` is set."""

    name: str
    command: tuple[str, ...]
    log: Path
    state: Path
    folder: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    listens_on: int | None = None
    end_with: signal.Signals = signal.SIGTERM
    orphaned: signal.Signals = signal.SIGKILL
    grace: float = 10.0
    sockets: tuple[int, ...] = ()
    outlives: bool = False
    is_worker: bool = False

    def popen_arguments(self) -> dict[str, Any]:
        """What `subprocess.Popen` and `asyncio.create_subprocess_exec` need beside the command."""
        passed_on = {name: value for name, value in os.environ.items() if _is_passed_on(name)}
        return {
            "env": passed_on | {STATE_MARK: str(self.state)} | dict(self.environment),
            "cwd": str(self.folder),
            "stdin": subprocess.DEVNULL,
            "stderr": subprocess.STDOUT,
            "start_new_session": True,
            "pass_fds": self.sockets,
            "preexec_fn": self._die_with_parent if self._can_be_bound() else None,
            **({} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}),
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Start it and wait until it listens; raises `Failure` with its last words when it ends before that."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(self.command, stdout=log, **self.popen_arguments())
        deadline = time.monotonic() + 60
        while not self.is_listening():
            if process.poll() is not None or time.monotonic() > deadline:
                raise self.failure()
            time.sleep(0.05)
        return process

    def is_listening(self) -> bool:
        """Whether its port answers; a program without a port always does."""
        if self.listens_on is None:
            return True
        with socket.socket() as attempt:
            attempt.settimeout(1)
            return attempt.connect_ex(("127.0.0.1", self.listens_on)) == 0

    def failure(self, what: str = "did not start") -> Failure:
        """What happened to it, and why, as far as its log tells."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return Failure(f"{self.name} {what}: {lines[-1] if lines else 'it said nothing'} (see {self.log}).")

    def _can_be_bound(self) -> bool:
        # Linux's parent is the thread that forked: a short-lived one would take the program with it.
        lasting = threading.current_thread() is threading.main_thread()
        return sys.platform == "linux" and lasting and not self.outlives

    def _die_with_parent(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(self.orphaned))


def _is_passed_on(name: str) -> bool:
    """OpenTelemetry's settings are for all, but for the name, which each program has its own."""
    return name in _PASSED_ON or (name.startswith("OTEL_") and name != "OTEL_SERVICE_NAME")
