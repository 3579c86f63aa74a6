"""Processes of the platform are killed; the launcher starts them again."""

from collections import Counter

import httpx

from tests.drills.faults import Fault, now_and_then
from tests.drills.scene import WORKERS, Scene
from tests.support.eventually import eventually
from tests.support.strikes import strike


async def kill_workers(scene: Scene) -> None:
    """Each in the middle of its work, as often as the others."""

    def enough(kills: Counter[str]) -> bool:
        return min(kills.values()) > 0 and scene.may_stop(KILLED)

    kills = await strike(scene.platform, *WORKERS, during=scene.load, enough=enough)
    scene.struck["workers killed"] += kills.total()


async def kill_edge(scene: Scene) -> None:
    """Requests that are under way go unanswered; clients ask again with the same key."""
    scene.platform.kill("edge")
    scene.struck["edges killed"] += 1
    await eventually(lambda: is_alive(scene.platform.edge), within=20, every=0.2)


async def is_alive(edge: str) -> bool:
    """Whether there is an edge."""
    async with httpx.AsyncClient(base_url=edge, trust_env=False) as http:
        try:
            return (await http.get("/healthz")).is_success
        except httpx.TransportError:
            return False


KILLED = ("redeliveries", "duplicates suppressed")
FAULTS = (
    Fault("workers", kill_workers, KILLED),
    now_and_then("edge", kill_edge, ("requests asked again",), pause=(1.0, 5.0)),
)
