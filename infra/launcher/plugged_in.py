"""Which plug-ins run: `run` leaves a note a process, which counts for as long as that process lives."""

import os
from typing import NamedTuple

import psutil

from infra.launcher.state import State


class PlugIn(NamedTuple):
    """One that runs, and the port of its metrics."""

    name: str
    pid: int
    metrics: int | None


def note_plugin(state: State, name: str, *, metrics: int) -> None:
    """This process is about to become the plug-in."""
    note = {"name": name, "since": psutil.Process().create_time(), "metrics": metrics}
    state.write(f"plugins/{os.getpid()}.json", note)


def plugged_in(state: State) -> list[PlugIn]:
    """The plug-ins that run; notes of ended ones are thrown away."""
    found = []
    for note in sorted((state.folder / "plugins").glob("[0-9]*.json")):
        said, pid = state.read(f"plugins/{note.name}"), int(note.stem)
        if _lives(pid, since=said.get("since")):
            found.append(PlugIn(str(said["name"]), pid, said.get("metrics")))
        else:
            note.unlink(missing_ok=True)
    return found


def _lives(pid: int, *, since: float | None) -> bool:
    """A pid is given out again: the start tells one process from another."""
    try:
        process = psutil.Process(pid)
        return process.create_time() == since and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
