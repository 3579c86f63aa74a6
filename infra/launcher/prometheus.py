"""Prometheus on this machine: the machine's own, else Debian's packages; it scrapes whatever of the platform runs.

Promise: it keeps its data under the state folder, listens on 127.0.0.1 alone, and hears of a process (a plug-in, too)
within seconds of its start or end, through a file that it watches.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from infra.launcher.failure import Failure
from infra.launcher.packages import can_unpack, unpack_prometheus
from infra.launcher.plugged_in import plugged_in
from infra.launcher.program import Program
from infra.launcher.state import PACKAGES, REPOSITORY, State

CONFIGURATION = REPOSITORY / "infra" / "prometheus"
_FILES = ("prometheus.yml", "rules.yml")
_TARGETS = "prometheus/targets.json"
_LOOK_EVERY = 1.0


def binaries() -> Path:
    """The folder of `prometheus` and `promtool`. Raises `Failure` where they can't be had."""
    if installed := shutil.which("prometheus"):
        return Path(installed).parent
    if can_unpack():
        return unpack_prometheus(PACKAGES) / "usr" / "bin"
    raise Failure("This machine has no Prometheus and can't unpack Debian's packages; install prometheus.")


def will_fetch() -> bool:
    """Whether `binaries` is going to download Debian's packages."""
    return not shutil.which("prometheus") and can_unpack() and not (PACKAGES / "prometheus").is_dir()


def prometheus(state: State) -> tuple[str, Program]:
    """Its address, and the program. Raises `Failure` where it can't be had."""
    tools, folder, port = binaries(), state.folder / "prometheus", state.port("prometheus")
    for name in _FILES:
        state.write_text(f"prometheus/{name}", (CONFIGURATION / name).read_text())
    options = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": folder / "data",
        "storage.tsdb.retention.size": "1GB",
        "web.listen-address": f"127.0.0.1:{port}",
        "log.level": "warn",
    }
    return f"http://127.0.0.1:{port}", Program(
        name="prometheus",
        command=(str(tools / "prometheus"), *(f"--{option}={value}" for option, value in options.items())),
        folder=tools.parents[1],
        log=state.logs / "prometheus.log",
        state=state.folder,
        listens_on=port,
    )


async def keep_targets(state: State, ports: Mapping[str, int]) -> None:
    """Tell it where the pages of metrics are, those of plug-ins as they come and go, until cancelled."""
    told = None
    while True:
        with contextlib.suppress(OSError, Failure):  # a full disk: it goes on with the targets that it knows
            targets = _targets(state, ports)
            if targets != told:
                state.write_text(_TARGETS, json.dumps(targets, indent=2))
                told = targets
        await asyncio.sleep(_LOOK_EVERY)


def _targets(state: State, ports: Mapping[str, int]) -> list[dict[str, object]]:
    plug_ins = [(plug_in.name, plug_in.metrics) for plug_in in plugged_in(state)]
    return [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"service": name}}
        for name, port in [*ports.items(), *plug_ins]
        if port is not None
    ]
