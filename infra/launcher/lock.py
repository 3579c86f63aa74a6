"""One launcher a state folder: whoever holds the lock of `launcher.pid` is the one, and its pid stands in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from infra.launcher.failure import Failure
from infra.launcher.state import State


class AlreadyRunning(Failure):
    """A platform runs here already."""


@contextmanager
def launcher_lock(state: State) -> Iterator[None]:
    """Hold the lock inside the block; raises `AlreadyRunning` when another launcher does."""
    with (state.folder / "launcher.pid").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            edge = state.read("runtime.json").get("edge", "it is still starting")
            message = (
                f"A platform is running here already ({edge}, pid {running_launcher(state)}); ./justw down stops it."
            )
            raise AlreadyRunning(message) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def running_launcher(state: State) -> int | None:
    """The pid of the launcher that holds the lock, if any."""
    try:
        with (state.folder / "launcher.pid").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None
