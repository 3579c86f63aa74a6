"""What runs, and what it wrote: `status` and `logs`."""

import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from infra.launcher.failure import Failure
from infra.launcher.plugged_in import plugged_in
from infra.launcher.state import State


def runtime(state: State) -> dict[str, object]:
    """The running platform's addresses and processes. Raises `Failure` when none runs."""
    found = state.read("runtime.json")
    if not found:
        raise Failure("No platform is running here; ./justw up starts one.")
    return found


def show_status(state: State) -> int:
    """A table of the processes and plug-ins; 1 when one of them is away."""
    found = runtime(state)
    table = Table("process", "pid", "for", "memory", box=None)
    rows = [_row(name, pid) for name, pid in [*_processes(found), *(plug_in[:2] for plug_in in plugged_in(state))]]
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{found['edge']}" if "edge" in found else "servers only")
    return 1 if any(row[2] == "away" for row in rows) else 0


def show_log(state: State, name: str | None, *, follow: bool) -> int:
    """The end of a program's log; with `follow`, what is added too, until Ctrl-C."""
    known = sorted(path.stem for path in state.logs.glob("*.log") if ".previous" not in path.name)
    if name is None:
        raise Failure(f"Which log? There is one of: {', '.join(known) or 'nothing yet'}.")
    log = state.logs / f"{name}.log"
    if not log.exists():
        raise Failure(f"There is no log of {name}; there is one of: {', '.join(known) or 'nothing yet'}.")
    print(*_last_lines(log, 100), sep="\n")
    with log.open(errors="replace") as lines:
        lines.seek(0, 2)
        while follow:
            print(lines.read(), end="", flush=True)
            time.sleep(0.2)
    return 0


def _processes(found: dict[str, object]) -> list[tuple[str, int]]:
    known = found.get("servers"), found.get("processes")
    return [(name, pid) for group in known if isinstance(group, dict) for name, pid in group.items()]


def _row(name: str, pid: int) -> tuple[str, str, str, str]:
    try:
        process = psutil.Process(pid)
        lasted = f"{time.time() - process.create_time():.0f} s"
        return name, str(pid), lasted, f"{process.memory_info().rss / 1e6:.0f} MB"
    except psutil.NoSuchProcess:
        return name, str(pid), "away", ""


def _last_lines(log: Path, count: int) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-count:]
