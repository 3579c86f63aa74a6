"""Programs that end, hang, or lose their launcher."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from infra.launcher.failure import Failure
from infra.launcher.leftovers import end_leftovers, is_running, leftovers
from infra.launcher.program import Program
from infra.launcher.state import REPOSITORY, State
from infra.launcher.supervisor import Supervisor
from tests.support.eventually import eventually

pytestmark = pytest.mark.servers

_LAUNCHER = """
import asyncio
from pathlib import Path
from infra.launcher.program import Program
from infra.launcher.supervisor import Supervisor

async def main():
    supervisor = Supervisor(print)
    folder = Path({folder!r})
    for name in ("users", "orders"):
        await supervisor.start(Program(name=name, command=("sleep", "600"), log=folder / "log", state=folder))
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def stub(state: State, script: str, *, name: str = "stub", grace: float = 10) -> Program:
    command = (sys.executable, "-S", "-c", script)
    return Program(
        name=name, command=command, log=state.logs / f"{name}.log", state=state.folder, grace=grace, is_worker=True
    )


async def until(check: Callable[[], bool]) -> None:
    async def ask() -> bool:
        return check()

    await eventually(ask)


async def test_a_program_that_dies_is_started_again_and_that_is_said(state: State) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    await supervisor.start(stub(state, "import time; time.sleep(600)"))
    first = supervisor.pids["stub"]
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.pids.get("stub", first) != first)
    assert said == ["stub ended (SIGKILL); starting it again in 0.2 s."]
    await supervisor.stop()
    assert supervisor.pids == {}


async def test_the_pause_doubles_while_it_keeps_dying(state: State) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    await supervisor.start(stub(state, "raise SystemExit('no such key')"))
    await until(lambda: len(said) >= 3)
    assert [line.split()[-2] for line in said[:3]] == ["0.2", "0.4", "0.8"]
    with pytest.raises(Failure, match="stub ends again and again: no such key"):
        supervisor.check()
    await supervisor.stop()


async def test_what_does_not_end_in_time_is_killed(state: State) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    program = stub(state, deaf, grace=0.2)
    await supervisor.start(program)
    await until(lambda: "deaf" in program.log.read_text())
    await supervisor.stop()
    assert said == ["stub did not end within 0.2 s and is killed."]
    assert leftovers(state.folder) == []


async def test_a_successor_takes_over_when_it_serves_and_is_kept_running(state: State) -> None:
    said: list[str] = []
    supervisor, program = Supervisor(said.append), stub(state, "import time; time.sleep(600)")
    await supervisor.start(program)
    first, beside = supervisor.pids["stub"], list[bool]()

    async def serves() -> bool:
        beside.append(is_running(first))
        return len(beside) > 1

    await supervisor.replace(program, serves)
    second = supervisor.pids["stub"]
    assert (beside, is_running(first), is_running(second)) == ([True, True], False, True)
    os.kill(second, signal.SIGKILL)
    await until(lambda: supervisor.pids.get("stub", second) != second)
    assert len(said) == 1
    await supervisor.stop()


async def test_a_successor_that_does_not_serve_leaves_everything_as_it_was(state: State) -> None:
    supervisor = Supervisor(print)
    await supervisor.start(stub(state, "import time; time.sleep(600)"))
    first = supervisor.pids["stub"]

    async def never() -> bool:
        return False

    with pytest.raises(Failure, match="stub did not take over: no such setting"):
        await supervisor.replace(stub(state, "raise SystemExit('no such setting')"), never)
    with pytest.raises(Failure, match="stub did not take over"):
        await supervisor.replace(stub(state, "import time; time.sleep(600)"), never, within=0.2)
    assert supervisor.pids == {"stub": first}
    assert [process.pid for process in leftovers(state.folder)] == [first]
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.pids.get("stub", first) != first)
    await supervisor.stop()


async def test_stopped_in_the_middle_of_a_replacement_neither_is_left(state: State) -> None:
    supervisor, program, asked = Supervisor(print), stub(state, "import time; time.sleep(600)"), asyncio.Event()
    await supervisor.start(program)

    async def never() -> bool:
        asked.set()
        return False

    replacing = asyncio.create_task(supervisor.replace(program, never))
    await asyncio.wait_for(asked.wait(), 10)
    await supervisor.stop()
    assert leftovers(state.folder) == []
    with pytest.raises(Failure, match="did not take over"):
        await replacing
    assert (leftovers(state.folder), supervisor.pids) == ([], {})
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_the_children_of_a_program_end_with_it(state: State) -> None:
    supervisor = Supervisor(print)
    await supervisor.start(stub(state, "import subprocess; subprocess.run(['sleep', '600'])"))
    await until(lambda: len(leftovers(state.folder)) == 2)
    await supervisor.stop()
    await until(lambda: leftovers(state.folder) == [])


async def test_workers_end_before_the_servers_they_use(state: State) -> None:
    script = "import os, signal, time; end = lambda *_: (print(time.time_ns(), flush=True), os._exit(0));"
    script += "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(600)"
    supervisor, worker = Supervisor(print), stub(state, script, name="orders")
    server = Program(name="rabbitmq", command=worker.command, log=state.logs / "rabbitmq.log", state=state.folder)
    for program in (server, worker):
        await supervisor.start(program)
    await until(lambda: all("up" in program.log.read_text() for program in (server, worker)))
    await supervisor.stop()
    ended = {program.name: int(program.log.read_text().split()[-1]) for program in (server, worker)}
    assert ended["orders"] < ended["rabbitmq"]


async def test_a_killed_launcher_leaves_no_child(state: State) -> None:
    with start_launcher(state) as launcher:
        assert len(leftovers(state.folder)) == 2
        launcher.kill()
    await until(lambda: leftovers(state.folder) == [])


async def test_what_was_left_behind_is_ended_and_nothing_else(
    state: State, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = State(tmp_path_factory.mktemp("other"))
    mine, theirs = (
        Program(
            name="kept", command=("sleep", "600"), log=place.logs / "kept.log", state=place.folder, outlives=True
        ).start()
        for place in (state, other)
    )
    assert end_leftovers(state.folder) == 1
    assert mine.wait(5) is not None
    assert psutil.pid_exists(theirs.pid)
    theirs.kill()
    theirs.wait()


@contextlib.contextmanager
def start_launcher(state: State) -> Iterator["subprocess.Popen[str]"]:
    script = _LAUNCHER.format(folder=str(state.folder))
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_settings_of_opentelemetry_are_for_all_but_for_the_name(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "everything")
    told = stub(state, "").popen_arguments()["env"]
    assert (told["OTEL_TRACES_SAMPLER"], "OTEL_SERVICE_NAME" in told) == ("always_off", False)
