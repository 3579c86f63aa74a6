"""What can be done to a platform. Each fault counts what it did, and names the counts in which that shows."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.drills.scene import Scene

Rage = Callable[[Scene], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong. Where the counts named in `shows_in` have not grown, together by `at_least`, it has
    touched nothing. `build` names the build of the platform that it needs, if not the usual one."""

    name: str
    rage: Rage
    shows_in: tuple[str, ...]
    at_least: int = 1
    needs_own_servers: bool = False
    build: str | None = None

    def has_touched(self, scene: Scene) -> bool:
        """Whether it shows."""
        return scene.has_any(self.shows_in, self.at_least)


def in_turn(blow: Rage) -> Rage:
    """One at a time, and then some peace: what everybody needs would otherwise be away all the time, now one thing and
    now the other, and nothing would ever be done."""

    async def blow_in_turn(scene: Scene) -> None:
        async with scene.turns["away"]:
            await blow(scene)
            await scene.pause(3, 6)

    return blow_in_turn


def now_and_then(name: str, blow: Rage, shows_in: tuple[str, ...], *, pause: tuple[float, float], **more: Any) -> Fault:
    """One blow after the other, with a pause (between two numbers of seconds) before each; the first in any case."""

    async def rage(scene: Scene) -> None:
        while True:
            await scene.pause(*pause)
            await blow(scene)
            if scene.may_stop(shows_in, more.get("at_least", 1)):
                return

    return Fault(name, rage, shows_in, **more)
