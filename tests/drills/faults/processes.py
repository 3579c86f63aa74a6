"""Processes of the platform are killed; the launcher starts them again."""

import asyncio
import secrets
from collections import Counter

import httpx

from tests.drills.faults import Fault, in_turn, now_and_then
from tests.drills.scene import WORKERS, Scene
from tests.support.eventually import eventually
from tests.support.load import insistently
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


async def kill_users(scene: Scene) -> None:
    """While a password is being hashed: that service has no outbox to be watched by."""
    email, password = f"{secrets.token_hex(8)}@newcomers.example", secrets.token_urlsafe(12)
    body, key = {"email": email, "password": password, "name": "Kim New"}, secrets.token_hex(8)
    async with httpx.AsyncClient(base_url=scene.platform.edge, timeout=20, trust_env=False) as http:
        asked = asyncio.create_task(insistently(http, "POST", "/users", body=body, key=key, asking=scene.asking))
        await asyncio.sleep(0.03)
        pid = scene.platform.kill("users")
        scene.struck["services of users killed"] += 1
        assert (await asked).status_code == 201
        session = await insistently(http, "POST", "/sessions", body={"email": email, "password": password})
        assert session.status_code == 201
    scene.struck["newcomers"] += 1

    async def is_back() -> bool:
        return scene.platform.pids.get("users", pid) != pid

    await eventually(is_back, within=30, every=0.1)


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
    now_and_then("users", kill_users, ("newcomers",), pause=(1.0, 5.0)),
    now_and_then("edge", in_turn(kill_edge), ("requests asked again",), pause=(0.5, 2.0)),
)
