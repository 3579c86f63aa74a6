"""Redis on this machine, for edges that count together: the machine's own, else Debian's packages.

Promise: it keeps nothing on disk, listens on 127.0.0.1 alone, and asks for a password that only its URL says.
"""

import shutil
from pathlib import Path

from infra.launcher.failure import Failure
from infra.launcher.packages import can_unpack, unpack_redis
from infra.launcher.program import Program
from infra.launcher.state import PACKAGES, State


def redis(state: State) -> tuple[str, Program]:
    """Its URL, and the program. Raises `Failure` where it can't be had."""
    program, libraries = _binary()
    port, password = state.port("redis"), state.secret("redis")
    settings = {
        "bind": "127.0.0.1",
        "port": port,
        "requirepass": password,
        "save": '""',
        "appendonly": "no",
        "maxmemory": "64mb",
        "maxmemory-policy": "volatile-ttl",
    }
    state.write_text("redis/redis.conf", "".join(f"{name} {value}\n" for name, value in settings.items()))
    return f"redis://:{password}@127.0.0.1:{port}/0", Program(
        name="redis",
        command=(program, str(state.folder / "redis" / "redis.conf")),
        environment={"LD_LIBRARY_PATH": str(libraries)} if libraries else {},
        log=state.logs / "redis.log",
        state=state.folder,
        listens_on=port,
    )


def _binary() -> tuple[str, Path | None]:
    if installed := shutil.which("redis-server"):
        return installed, None
    if not can_unpack():
        raise Failure("This machine has no Redis and can't unpack Debian's packages; install redis-server.")
    root = unpack_redis(PACKAGES)
    return str(root / "usr" / "bin" / "redis-server"), next(root.glob("usr/lib/*-linux-gnu*"), None)
