"""Keeps programs running: one that ends is started again, with a growing pause, until all are asked to stop.

Promise: one that is to be replaced ends only when its successor serves.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable

from infra.launcher.program import Program

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_HEALTHY_AFTER = 10.0
_NOTHING_TO_LOSE = 2.0
"""Seconds that a program may take to end which never came up."""


class Supervisor:
    """Owns the processes it started; `say` hears a line about each unexpected end, `changed` of each new process."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None] = lambda: None) -> None:
        self._say = say
        self._changed = changed
        self._programs: dict[str, Program] = {}
        self._processes: dict[str, Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._leaving: list[tuple[Program, Process]] = []
        self._ready: set[str] = set()
        self._has_stopped = False
        self.restarts: dict[str, int] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run now, by the name of their program."""
        return {name: process.pid for name, process in self._processes.items() if process.returncode is None}

    @property
    def has_started(self) -> bool:
        """Whether anything was started at all."""
        return bool(self._programs)

    async def start(self, program: Program, *, within: float = 60.0) -> None:
        """Start a program, keep it running, and return when it listens; raises `Failure` when it does not come up."""
        if program.log.exists():
            program.log.replace(program.log.with_suffix(".previous.log"))
        self._programs[program.name] = program
        self.restarts[program.name] = 0
        await self._spawn(program)
        self._keepers[program.name] = asyncio.create_task(self._keep(program))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.restarts[program.name] < 2:
                    if await asyncio.to_thread(program.is_listening):
                        self._ready.add(program.name)
                        return
                    await asyncio.sleep(0.05)
        raise program.failure()

    async def replace(self, program: Program, serves: Callable[[], Awaitable[bool]], *, within: float = 60.0) -> None:
        """Start a running program anew, and end its old process as soon as the new one `serves`. Raises `Failure` where
        it does not; the old one then goes on."""
        name, before, old = program.name, self._programs[program.name], self._processes[program.name]
        await self._leave_alone(name)
        self._leaving.append((before, old))
        try:
            await self._start_beside(program, serves, within)
        except BaseException:
            if self._processes[name] is not old:
                await self._end(program, self._processes[name], grace=_NOTHING_TO_LOSE)
            self._leaving.remove((before, old))
            self._processes[name] = old
            if not self._has_stopped:
                self._keepers[name] = asyncio.create_task(self._keep(before))
                self._changed()
            raise
        self._programs[name], self._keepers[name] = program, asyncio.create_task(self._keep(program))
        await self._end(before, old, grace=before.grace)
        self._leaving.remove((before, old))

    async def _start_beside(self, program: Program, serves: Callable[[], Awaitable[bool]], within: float) -> None:
        await self._spawn(program)
        new = self._processes[program.name]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while new.returncode is None:
                    if await serves():
                        return
                    await asyncio.sleep(0.05)
        raise program.failure("did not take over")

    async def _leave_alone(self, name: str) -> None:
        self._keepers[name].cancel()
        await asyncio.gather(self._keepers[name], return_exceptions=True)

    def check(self) -> None:
        """Raise `Failure` when a program keeps ending."""
        for name, restarts in self.restarts.items():
            if restarts > 2:
                raise self._programs[name].failure("ends again and again")

    async def stop(self) -> None:
        """End everything, the last started first; workers before the servers they use, all at once."""
        self._has_stopped = True
        await asyncio.gather(*map(self._leave_alone, self._keepers))
        workers = [name for name in self._programs if self._programs[name].is_worker]
        leaving = [self._end(program, process, grace=program.grace) for program, process in self._leaving]
        await asyncio.gather(*map(self._end_kept, workers), *leaving)
        for name in reversed(self._programs):
            await self._end_kept(name)

    async def _spawn(self, program: Program) -> None:
        with program.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(*program.command, stdout=log, **program.popen_arguments())
        self._processes[program.name] = process
        self._changed()

    async def _keep(self, program: Program) -> None:
        clock, pause = asyncio.get_running_loop().time, _FIRST_PAUSE
        while True:
            started = clock()
            code = await self._processes[program.name].wait()
            _kill_group(self._processes[program.name])
            self.restarts[program.name] += 1
            if clock() - started > _HEALTHY_AFTER:
                pause = _FIRST_PAUSE
            self._say(f"{program.name} ended ({_reason(code)}); starting it again in {pause:g} s.")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            await self._spawn(program)

    async def _end_kept(self, name: str) -> None:
        program = self._programs[name]
        # RabbitMQ, for one, is deaf while it boots.
        grace = program.grace if name in self._ready else min(program.grace, _NOTHING_TO_LOSE)
        await self._end(program, self._processes[name], grace=grace)

    async def _end(self, program: Program, process: Process, *, grace: float) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(program.end_with)
            try:
                async with asyncio.timeout(grace):
                    await process.wait()
            except TimeoutError:
                self._say(f"{program.name} did not end within {grace:g} s and is killed.")
        _kill_group(process)
        await process.wait()


def _kill_group(process: Process) -> None:
    """What a program leaves behind in its session goes with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
