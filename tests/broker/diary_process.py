"""The diary as a process that can be killed: `python -m tests.broker.diary_process LOG LIVES`.

It writes a line to LOG whenever a handler begins. It runs its service in a child; a child that does not end in good
order is followed by another, up to so many LIVES. Numbers below zero make handlers behave badly:

    -1  ends the process, every time
    -2  ends the process the first time
    -3  takes a second
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from broker.injection import Attempt
from tests.broker.diary import Pages, diary

DEADLY, DEADLY_ONCE, SLOW = -1, -2, -3


class Conduct(Pages):
    """How every account's handlers behave."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log

    def __contains__(self, _: object) -> bool:
        return True

    def __getitem__(self, _: str) -> Any:
        return self._behave

    async def _behave(self, said: Any, _: Attempt) -> None:
        before = self._log.read_text().split().count(f"{said.number}") if self._log.exists() else 0
        with self._log.open("a") as log:
            log.write(f"{said.number}\n")
        if said.number == DEADLY or (said.number == DEADLY_ONCE and before == 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if said.number == SLOW:
            await asyncio.sleep(1)


def main() -> int:
    """Live so often; the exit code of the last life."""
    log, lives = Path(sys.argv[1]), int(sys.argv[2])
    status = 0
    for _ in range(lives):
        child = os.fork()
        if child == 0:
            diary(Conduct(log)).run()

        def pass_on(number: int, _: FrameType | None, child: int = child) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

        signal.signal(signal.SIGTERM, pass_on)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            break
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
