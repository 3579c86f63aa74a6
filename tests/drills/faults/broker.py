"""The broker goes away, dies, or stops taking messages; it is the drill's own."""

import asyncio
import contextlib
import subprocess
from functools import cache
from pathlib import Path

from infra.launcher.node import PrivateNode
from infra.launcher.rabbitmq import private_broker
from infra.launcher.state import State
from tests.drills.faults import Fault, Rage, in_turn, now_and_then
from tests.drills.scene import Scene
from tests.support.eventually import eventually


async def kill_broker(scene: Scene) -> None:
    """What it has confirmed it must still have; the launcher starts it again."""
    scene.platform.kill("rabbitmq")
    scene.struck["brokers killed"] += 1
    await eventually(lambda: is_up(scene), within=60, every=0.5)


async def restart_broker(scene: Scene) -> None:
    """In good order."""
    await control(scene, "stop_app")
    scene.struck["brokers restarted"] += 1
    await asyncio.sleep(scene.chance.uniform(0, 2))
    await control(scene, "start_app")


async def raise_memory_alarm(scene: Scene) -> None:
    """For a while nobody may publish."""
    await control(scene, "set_vm_memory_high_watermark", "0.0001")
    with contextlib.suppress(AssertionError):  # a node that was killed meanwhile has forgotten it
        await eventually(lambda: has_alarm(scene), within=10, every=0.1)
        scene.struck["memory alarms raised"] += 1
        await asyncio.sleep(scene.chance.uniform(1, 3))
    await control(scene, "set_vm_memory_high_watermark", "0.4")


async def control(scene: Scene, *arguments: str) -> str:
    """What the node's own rabbitmqctl says, once the node is there: another fault may have killed it."""

    async def said() -> tuple[str]:
        try:
            return (await asyncio.to_thread(_node(scene.platform.state.folder).rabbitmqctl, *arguments),)
        except subprocess.SubprocessError as error:
            raise AssertionError(f"rabbitmqctl: {error}") from error

    return (await eventually(said, within=60, every=0.5))[0]


@cache
def _node(folder: Path) -> PrivateNode:
    return private_broker(State(folder, running=True))


async def is_up(scene: Scene) -> bool:
    """Whether there is a broker again."""
    try:
        await asyncio.to_thread(scene.platform.broker, "queues")
    except Exception:
        return False
    return True


async def has_alarm(scene: Scene) -> bool:
    """Whether the node itself says that it has no memory left."""
    return "memory" in await control(scene, "eval", "rabbit_alarm:get_alarms().")


def _fault(name: str, blow: Rage, shows_in: str) -> Fault:
    return now_and_then(name, in_turn(blow), (shows_in,), pause=(1.0, 3.0), needs_own_servers=True)


FAULTS = (
    _fault("broker-killed", kill_broker, "connections lost"),
    _fault("broker-restarted", restart_broker, "connections lost"),
    _fault("memory-alarm", raise_memory_alarm, "memory alarms raised"),
)
