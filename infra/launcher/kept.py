"""A backup as it lies on disk: a folder, and beside it a file with the keys of people.

Promise: what was changed, cut off or made by a newer version is found before anything is overwritten. Nothing in the
folder opens personal data: the keys are to be kept elsewhere, and only the newest of them (docs/upgrading.md).
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from infra.launcher.failure import Failure
from infra.launcher.postgresql_tools import is_readable

FORMAT = 1
DATABASE, DEFINITIONS, MANIFEST = "database.dump", "broker.json", "backup.json"


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself. `rows` are counts by table, `under_way` the messages that it does not have."""

    version: str
    taken_at: str
    schemas: list[str]
    rows: dict[str, int]
    under_way: int
    has_keys: bool
    digests: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class Kept:
    """A backup and where it lies."""

    folder: Path
    keys: Path
    manifest: Manifest


def keys_beside(folder: Path) -> Path:
    """Where the keys of people of a backup are written."""
    return folder.with_name(f"{folder.name}.keys.dump")


def seal(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, last of all: a folder without it is no backup."""
    digests = {name: _digest(folder / name) for name in (DATABASE, DEFINITIONS)}
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest) | {"digests": digests}, indent=2) + "\n")


def look_into(folder: Path, keys: Path | None, *, version: str) -> Kept:
    """A backup that is whole, and that this version can read. Raises `Failure`."""
    try:
        told = json.loads((folder / MANIFEST).read_text())
        if told["format"] > FORMAT or _number(told["version"]) > _number(version):
            raise Failure(
                f"{folder} was made by Hedgerow {told['version']}; restore it with that release or a newer one."
            )
        manifest = Manifest(**told)
        digests = {name: _digest(folder / name) for name in (DATABASE, DEFINITIONS)}
    except FileNotFoundError as error:
        raise Failure(f"{folder} is no backup: there is no {Path(str(error.filename)).name} in it.") from None
    except OSError as error:
        raise Failure(f"{folder} can't be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError):
        raise Failure(f"{folder} is damaged: its {MANIFEST} makes no sense.") from None
    if changed := [name for name in digests if digests[name] != manifest.digests.get(name)]:
        raise Failure(f"{folder} is damaged: {changed[0]} is not what it was when the backup was made.")
    keys = keys or keys_beside(folder)
    if manifest.has_keys and not is_readable(keys):
        raise Failure(f"The keys of people can't be read from {keys}; say where they are with --keys.")
    return Kept(folder, keys, manifest)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
