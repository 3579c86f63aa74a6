"""pg_dump and pg_restore, as they come with the project's own PostgreSQL; they know older servers, too."""

import os
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

from infra.launcher.failure import Failure
from infra.launcher.postgresql import binaries

_BUSY = 3600


def run_tool(name: str, database: str | None, *arguments: str) -> str:
    """Run `pg_dump` or `pg_restore` on the database of this address, and answer what it prints. The password is told
    by the environment, which other accounts of the machine can't see. Raises `Failure`."""
    command = [str(binaries() / name), *arguments]
    known = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"} | (_connection(database) if database else {})
    done = subprocess.run(command, env=known, cwd="/", capture_output=True, text=True, check=False, timeout=_BUSY)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Failure(f"{name} failed: {reason.removeprefix(f'{name}: ').removeprefix('error: ').rstrip('.')}.")
    return done.stdout


def _connection(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    told = {
        "PGHOST": parts.hostname or "localhost",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    return {name: value for name, value in told.items() if value}


def is_readable(archive: Path) -> bool:
    """Whether pg_restore finds its way through the whole archive."""
    try:
        run_tool("pg_restore", None, f"--file={os.devnull}", str(archive))
    except Failure:
        return False
    return True
