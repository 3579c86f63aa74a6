"""The database ends its clients, or itself."""

import contextlib
import signal

import asyncpg

from tests.drills.faults import in_turn, now_and_then
from tests.drills.scene import Scene
from tests.support.database import AWAY
from tests.support.eventually import eventually

_TERMINATE = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND usename <> current_user
"""


async def terminate_backends(scene: Scene) -> None:
    """Every connection of every service; where another fault has ended them all, there is nothing to do."""
    with contextlib.suppress(*AWAY):
        connection = await asyncpg.connect(scene.platform.servers.database, timeout=5)
        try:
            scene.struck["backends terminated"] += await connection.fetchval(_TERMINATE)
        finally:
            await connection.close()


async def restart_database(scene: Scene) -> None:
    """As its administrator does ("fast"), or as a crash does; the launcher starts it again."""
    how = scene.chance.choice((signal.SIGINT, signal.SIGKILL))
    scene.platform.kill("postgresql", how)
    scene.struck["databases restarted"] += 1
    await eventually(lambda: is_up(scene), within=60, every=0.2)


async def is_up(scene: Scene) -> bool:
    """Whether there is a database again."""
    try:
        connection = await asyncpg.connect(scene.platform.servers.database, timeout=5)
    except AWAY:
        return False
    await connection.close()
    return True


SHOWS_IN = ("messages that waited for the database", "requests that met no database", "relays that lost the database")
FAULTS = (
    now_and_then("backends-terminated", terminate_backends, ("backends terminated",), pause=(0.3, 1.5)),
    now_and_then("database-restarted", in_turn(restart_database), SHOWS_IN, pause=(0.5, 2.0), needs_own_servers=True),
)
