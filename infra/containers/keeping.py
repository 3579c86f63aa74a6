"""Backup and restore of a platform in containers, by the same code as `./justw backup` and `./justw restore`.

Promise: addresses and passwords are those of the secrets' files; nothing of them is in a command line.
"""

import asyncio
import os
import secrets
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from infra.containers.provisioning import administrator, secret
from infra.launcher.backup import new_folder, take
from infra.launcher.failure import Failure
from infra.launcher.kept import look_into
from infra.launcher.progress import Progress
from infra.launcher.provision import login_of
from infra.launcher.restore import put_back


def back_up(folder: Path, to: Path) -> None:
    """A new backup in a folder that exists, or as a folder that does not. Raises `Failure`."""
    now = datetime.now(UTC)
    with new_folder(to.absolute(), now) as made:
        manifest = asyncio.run(take(administrator(folder), _progress(), made, now))
    print(f"The backup is {made}; {manifest.under_way} messages were under way, and are not in it.")


def restore(folder: Path, what: Path, keys: Path | None) -> None:
    """Put a backup in the place of what is there. Raises `Failure`; services that run are a reason."""
    kept = look_into(what.absolute(), keys and keys.absolute(), version=version("hedgerow"))
    before = asyncio.run(put_back(administrator(folder), _progress(), kept, lambda role: _password(folder, role)))
    print(f"Everything is as it was at {kept.manifest.taken_at}; the database as it was until now is kept as {before}.")


def _password(folder: Path, role: str) -> str:
    try:
        return login_of(secret(folder, f"{role.partition('@')[0]}/database-url"))[1]
    except Failure:
        return secrets.token_urlsafe(24)  # a plug-in's, which gets its own when it is made anew


def _progress() -> Progress:
    return Progress(Path(os.devnull))
