"""What can be done to a platform. Each fault counts what it did, and names the counts in which that shows."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.drills.scene import Scene

Rage = Callable[[Scene], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong. Where none of the counts named in `shows_in` has grown, it has touched nothing."""

    name: str
    rage: Rage
    shows_in: tuple[str, ...]
    needs_own_servers: bool = False


def now_and_then(
    name: str, blow: Rage, shows_in: tuple[str, ...], *, pause: tuple[float, float], **more: bool
) -> Fault:
    """One blow after the other, with a pause (between two numbers of seconds) before each; the first in any case."""

    async def rage(scene: Scene) -> None:
        while True:
            await asyncio.sleep(scene.chance.uniform(*pause))
            await blow(scene)
            if scene.may_stop(shows_in):
                return

    return Fault(name, rage, shows_in, **more)
