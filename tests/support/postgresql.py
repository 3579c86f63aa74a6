"""A PostgreSQL of one's own that speaks nothing but TLS, from the machine's packages: the wheel's has no OpenSSL."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwnam
from urllib.parse import urlencode

from infra.launcher.failure import Failure
from infra.launcher.program import Program
from infra.launcher.state import any_free_port
from tests.support.certificates import Authority
from tests.support.servers import skip_or_fail

_PLACES = (Path("/usr/lib/postgresql"), Path("/usr/local/opt"), Path("/opt/homebrew/opt"))


class OwnPostgres:
    """Where it answers, and whom it trusts to certify it."""

    def __init__(self, port: int, password: str, authority: Authority) -> None:
        self._place = f"postgresql://hedgerow:{password}@{{host}}:{port}/postgres"
        self._authority = authority

    def url(self, *, host: str = "127.0.0.1", **options: object) -> str:
        """The administrator's address; the server's certificate is verified."""
        verified = {"sslmode": "verify-full", "sslrootcert": self._authority.certificate}
        return f"{self._place.format(host=host)}?{urlencode({**verified, **options})}"


@contextmanager
def own_postgres(authority: Authority) -> Iterator[OwnPostgres]:
    """A server that runs for as long as the block lasts; its certificate is for 127.0.0.1."""
    binaries = _binaries()
    # Not below pytest's folder, which is closed to the account that PostgreSQL runs as when we are root.
    folder = Path(tempfile.mkdtemp(prefix="hedgerow-"))
    owner = getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    port, password = any_free_port(), secrets.token_hex(8)
    process = None
    try:
        certificate, key = authority.certify("database")
        for name, text in (("password", password), ("tls.pem", certificate.read_text()), ("tls.key", key.read_text())):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(text)
        if owner is not None:
            for path in (folder, *folder.iterdir()):
                os.chown(path, owner, owner)
        data = folder / "data"
        command: list[str | Path] = [binaries / "initdb", "-D", data, "-U", "hedgerow", "--no-sync"]
        subprocess.run(
            [*command, "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"],
            user=owner,
            cwd="/",
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        settings = {
            **{"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"},
            **{"ssl": "on", "ssl_cert_file": folder / "tls.pem", "ssl_key_file": folder / "tls.key"},
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        process = Program(
            name="postgresql",
            command=(str(binaries / "postgres"), "-D", str(data), *options),
            log=folder / "log",
            state=folder,
            user=owner,
            listens_on=port,
            orphaned=signal.SIGINT,
        ).start()
        yield OwnPostgres(port, password, authority)
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(20)
        shutil.rmtree(folder)


def _binaries() -> Path:
    found = sorted(path for place in _PLACES for path in place.glob("*/bin") if (path / "initdb").exists())
    if not found:
        skip_or_fail(Failure("A PostgreSQL with TLS is needed: apt-get install postgresql, or brew install postgresql"))
    return found[-1]
