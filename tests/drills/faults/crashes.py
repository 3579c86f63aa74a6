"""Processes end themselves, without a warning, at a named point of their work; the launcher starts them again."""

from broker import topology
from tests.drills.crash_points import POINTS, place
from tests.drills.faults import Fault
from tests.drills.faults.messages import channel_to
from tests.drills.scene import Scene
from tests.support.eventually import eventually

BUILD = "crash-points"
CRASHES = 3
"""A run. More often, and one after the other, they would keep the platform from working at all."""


def _crash(point: str, services: tuple[str, ...], counted: str) -> Fault:
    async def rage(scene: Scene) -> None:
        while scene.struck[counted] < CRASHES and not scene.is_over:
            await scene.pause(1, 3)
            await _crash_once(scene, point, scene.chance.choice(services), counted)

    return Fault(f"crash-{point}", rage, (counted,), at_least=CRASHES, build=BUILD)


async def _crash_once(scene: Scene, point: str, service: str, counted: str) -> None:
    pid, ask = scene.platform.pids[service], place(scene.platform.state.folder, point, service)
    ask.parent.mkdir(exist_ok=True)
    ask.touch()

    async def is_done() -> bool:
        return scene.is_over or not ask.exists()

    async def is_back() -> bool:
        return scene.platform.pids.get(service, pid) != pid and await _is_over_it(scene, service)

    await eventually(is_done, within=600)
    try:
        ask.unlink()
    except FileNotFoundError:
        scene.struck[counted] += 1
        await eventually(is_back, within=60, every=0.2)


async def _is_over_it(scene: Scene, service: str) -> bool:
    """Whether it has tried what may have killed it: a request that is there at two ends in a row is kept for good."""
    async with channel_to(scene.platform) as channel:
        suspects = await channel.declare_queue(topology.suspects_queue(service), passive=True)
        found = suspects.declaration_result
    return bool(found.consumer_count) and not found.message_count


FAULTS = tuple(_crash(point, services, f"crashes {point.replace('-', ' ')}") for point, services in POINTS.items())
