"""The folder `.hedgerow/`: everything the launcher remembers between two starts.

Files are replaced whole, so that a reader never sees half of one, and are for their owner only (0600).
"""

import errno
import fcntl
import json
import os
import random
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from infra.launcher.failure import Failure

_NOT_FOR_CLIENTS = range(20_000, 32_000)
"""Linux gives clients ports from 32768 on, others from 49152 on (RFC 6335)."""
REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = REPOSITORY / ".hedgerow" / "packages"


class State:
    """One platform's folder; `running`: its own servers hold its ports. Raises `Failure` when it can't be used."""

    def __init__(self, folder: Path, *, running: bool = False) -> None:
        self.folder = folder.absolute()
        self.running = running
        self.logs = self.folder / "logs"
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise Failure(f"The state folder {self.folder} can't be used: {error.strerror}.") from error

    @classmethod
    def here(cls) -> Self:
        """HEDGEROW_STATE, else `.hedgerow/` beside the code."""
        return cls(Path(os.environ.get("HEDGEROW_STATE") or REPOSITORY / ".hedgerow"))

    @contextmanager
    def failing_in_one_sentence(self) -> Iterator[None]:
        """Whatever can't be read or written below the folder inside the block is a `Failure`; so is a full disk."""
        try:
            yield
        except OSError as error:
            place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
            if place and place.absolute().is_relative_to(self.folder):
                raise Failure(f"{place} can't be used: {error.strerror}.") from error
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Failure(f"{self.folder} can't be written to: {error.strerror}.") from error
            raise

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file's object; an empty one when there is no such file."""
        try:
            content = json.loads((self.folder / name).read_text())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Failure(f"{self.folder / name} can't be read: {error.strerror}.") from error
        except ValueError as error:
            raise Failure(f"{self.folder / name} holds no valid JSON; delete it and start again.") from error
        return dict(content)

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Replace a JSON file at once (mode 0600)."""
        self.write_text(name, json.dumps(content, indent=2) + "\n")

    def write_text(self, name: str, content: str) -> Path:
        """Replace a file at once (mode 0600)."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle, draft = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
            with os.fdopen(handle, "w") as file:
                file.write(content)
            Path(draft).rename(place)
        except OSError as error:
            # The draft's name would tell nobody anything.
            raise OSError(error.errno, error.strerror, str(place)) from error
        return place

    def secret(self, name: str) -> str:
        """A random password that stays the same from its first use on."""
        return str(self._remember("secrets.json", name, lambda: secrets.token_urlsafe(24)))

    def port(self, name: str) -> int:
        """A free port of 127.0.0.1; the one of last time while it is still free, or our own server has it."""
        remembered = self.read("ports.json").get(name)
        if remembered and (self.running or is_free(remembered)):
            return int(remembered)
        ports = self.read("ports.json") | {name: any_free_port()}
        self.write("ports.json", ports)
        return int(ports[name])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else who asks for it is inside this block meanwhile."""
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remember(self, file: str, name: str, make: Any) -> Any:
        with self.locked():
            known = self.read(file)
            if name not in known:
                self.write(file, known | {name: make()})
            return self.read(file)[name]


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    return why_not(port) is None


def why_not(port: int) -> OSError | None:
    """What keeps a server from listening on this port of 127.0.0.1: EADDRINUSE, EACCES, ..."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError as error:
            return error
    return None


def any_free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no client gets who does not care which. Raises `Failure`.

    Until this process ends nobody else who asks is told the same: the UDP port of that number says that it was given.
    """
    for port in random.sample(_NOT_FOR_CLIENTS, 100):
        with socket.socket() as attempt, socket.socket(type=socket.SOCK_DGRAM) as given:
            try:
                attempt.bind(("127.0.0.1", port))
                given.bind(("127.0.0.1", port))
            except OSError:
                continue
            given.detach()
            return port
    raise Failure("Of a hundred ports between 20000 and 32000, none is free.")
