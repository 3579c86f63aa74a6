"""Keeps programs running: one that ends is started again, with a growing pause, until all are asked to stop."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable

from infra.launcher.program import Program

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_HEALTHY_AFTER = 10.0


class Supervisor:
    """Owns the processes it started; `say` hears a line about each unexpected end, `changed` of each new process."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None] = lambda: None) -> None:
        self._say = say
        self._changed = changed
        self._programs: dict[str, Program] = {}
        self._processes: dict[str, Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._ready: set[str] = set()
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

    def check(self) -> None:
        """Raise `Failure` when a program keeps ending."""
        for name, restarts in self.restarts.items():
            if restarts > 2:
                raise self._programs[name].failure("ends again and again")

    async def stop(self) -> None:
        """End everything, the last started first; workers before the servers they use, all at once."""
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        workers = [name for name in self._programs if self._programs[name].is_worker]
        await asyncio.gather(*map(self._end, workers))
        for name in reversed(self._programs):
            await self._end(name)

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

    async def _end(self, name: str) -> None:
        program, process = self._programs[name], self._processes[name]
        # What never came up has nothing to lose; RabbitMQ, for one, is deaf while it boots.
        grace = program.grace if name in self._ready else min(program.grace, 2.0)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(program.end_with)
            try:
                async with asyncio.timeout(grace):
                    await process.wait()
            except TimeoutError:
                self._say(f"{name} did not end within {grace:g} s and is killed.")
        _kill_group(process)
        await process.wait()


def _kill_group(process: Process) -> None:
    """What a program leaves behind in its session goes with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
