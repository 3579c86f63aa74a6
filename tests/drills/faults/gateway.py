"""The gateway keeps silent or fails, before or after it did what it was asked; its webhooks come late, twice, before
the answer that they belong to, or never.

Where several rage together they take turns, since each is a script of the same gateway.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal

from tests.drills.faults import Fault, Rage, now_and_then
from tests.drills.scene import Scene

SHARE = 0.15
"""How many of the calls meet trouble while there is any."""
What = Literal["trouble", "webhooks"]


def _troubled(kind: str, counted: str) -> Rage:
    """A share of the calls meets this trouble."""

    async def rage(scene: Scene) -> None:
        async def met() -> int:
            return int((await _counts(scene, "trouble")).get(kind, 0))

        async with scene.turns["trouble"]:
            before = await met()
            await _script(scene, "trouble", {kind: SHARE, "seed": scene.chance.randrange(10**6)})
            await scene.pause(2, 4)
            await _script(scene, "trouble", {})
            scene.struck[counted] += await met() - before

    return rage


def _told(counted: str, **script: Any) -> Rage:
    """Everything is told, and so."""

    async def rage(scene: Scene) -> None:
        async def known() -> int:
            return sum((await _counts(scene, "webhooks")).values())

        async with scene.turns["webhooks"]:
            before = await known()
            await _script(scene, "webhooks", {"everything": True, **script})
            await scene.pause(2, 4)
            scene.struck[counted] += await known() - before
            await _script(scene, "webhooks", {})

    return rage


def _script(scene: Scene, what: What, script: dict[str, Any]) -> Coroutine[Any, Any, Any]:
    return asyncio.to_thread(scene.platform.gateway, "PUT", what, script)


def _counts(scene: Scene, what: What) -> Coroutine[Any, Any, Any]:
    return asyncio.to_thread(scene.platform.gateway, "GET", what)


def _fault(name: str, blow: Rage, shows_in: str) -> Fault:
    return now_and_then(name, blow, (shows_in,), pause=(0.0, 0.3))


_TROUBLE = {
    "gateway-silent-before": ("silent_before", "calls never answered, without effect"),
    "gateway-silent-after": ("silent_after", "calls never answered, with effect"),
    "gateway-fails-before": ("fails_before", "calls that failed, without effect"),
    "gateway-fails-after": ("fails_after", "calls that failed, with effect"),
}
_WEBHOOKS: dict[str, dict[str, Any]] = {
    "late": {"delay": 4.0, "newest_first": True},
    "twice": {"copies": 2},
    "first": {"before_the_answer": True},
    "never": {"copies": 0},
}
FAULTS = (
    *(_fault(name, _troubled(kind, counted), counted) for name, (kind, counted) in _TROUBLE.items()),
    *(
        _fault(f"webhooks-{how}", _told(f"webhooks {how}", **script), f"webhooks {how}")
        for how, script in _WEBHOOKS.items()
    ),
)
