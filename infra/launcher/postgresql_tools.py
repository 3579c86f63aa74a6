"""pg_dump and pg_restore, as they come with the project's own PostgreSQL; they know older servers, too."""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from infra.launcher.failure import Failure
from infra.launcher.postgresql import binaries

_BUSY = 3600
_TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl")


def run_tool(name: str, database: str | None, *arguments: str) -> str:
    """Run `pg_dump` or `pg_restore` on the database of this address, and answer what it prints. The password is told
    by the environment, which other accounts of the machine can't see. Raises `Failure`."""
    told = connection_settings(database) if database else {}
    command = [str(_place(name, by_tls=told.get("PGSSLMODE", "disable") != "disable")), *arguments]
    known = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"} | told
    done = subprocess.run(command, env=known, cwd="/", capture_output=True, text=True, check=False, timeout=_BUSY)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Failure(f"{name} failed: {reason.removeprefix(f'{name}: ').removeprefix('error: ').rstrip('.')}.")
    return done.stdout


def _place(name: str, *, by_tls: bool) -> Path:
    """Our own can't speak TLS; the machine's must be as new as the server, and says so where it is not."""
    if not by_tls:
        return binaries() / name
    if found := shutil.which(name):
        return Path(found)
    raise Failure(
        f"The database is reached by TLS, and this machine has no {name} for that; install postgresql-client."
    )


def connection_settings(url: str) -> dict[str, str]:
    """The variables by which libpq is told of an address."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    told = {
        "PGHOST": parts.hostname or "localhost",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    told |= {f"PG{name.upper()}": options.get(name, "") for name in _TLS}
    return {name: value for name, value in told.items() if value}


def is_readable(archive: Path) -> bool:
    """Whether pg_restore finds its way through the whole archive."""
    try:
        run_tool("pg_restore", None, f"--file={os.devnull}", str(archive))
    except Failure:
        return False
    return True
