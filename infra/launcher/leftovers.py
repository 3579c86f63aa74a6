"""Processes that a launcher left behind: known by the state folder in their environment, never by their name."""

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from infra.launcher.program import STATE_MARK


def leftovers(state: Path) -> list[psutil.Process]:
    """Everything that was started from this state folder and still runs."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != psutil.Process().pid and _is_marked(process, state)
    ]


def end_leftovers(state: Path, *, within: float = 20.0) -> int:
    """Ask them to end, kill what did not; answers how many there were."""
    found = leftovers(state)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(_orderly_end(process))
    if not wait_until(lambda: not leftovers(state), within=within):
        for process in leftovers(state):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(lambda: not leftovers(state), within=5)
    return len(found)


def is_running(pid: int) -> bool:
    """Whether the process does anything: one that has ended stays listed where nobody collects it."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until(check: Callable[[], bool], *, within: float) -> bool:
    """Whether the check came true in time (seconds)."""
    deadline = time.monotonic() + within
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _orderly_end(process: psutil.Process) -> signal.Signals:
    # On SIGTERM PostgreSQL waits until every client has left of its own accord.
    return signal.SIGINT if process.name() == "postgres" else signal.SIGTERM


def _is_marked(process: psutil.Process, state: Path) -> bool:
    try:
        return process.environ().get(STATE_MARK) == str(state)
    except psutil.Error:
        return False
