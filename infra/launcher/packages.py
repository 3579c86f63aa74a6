"""RabbitMQ from Debian's or Ubuntu's own packages, unpacked into a folder: no root, and nothing is installed."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from infra.launcher.failure import Failure

_OTHER_RELATIONS = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
_CLOSURE = ["--recurse", *(f"--no-{kind}" for kind in _OTHER_RELATIONS), "rabbitmq-server"]


def can_unpack_rabbitmq() -> bool:
    """Whether this machine has the tools of a Debian: apt-get, apt-cache and dpkg-deb."""
    return all(shutil.which(tool) for tool in ("apt-get", "apt-cache", "dpkg-deb"))


def unpack_rabbitmq(folder: Path) -> Path:
    """Download and unpack RabbitMQ with its Erlang into `folder`, once; answers the unpacked root.

    Safe to run several times at once. Raises `Failure` when the packages can't be had.
    """
    folder = folder.absolute()
    root = folder / "rabbitmq"
    folder.mkdir(parents=True, exist_ok=True)
    if root.is_dir():
        return root
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            with tempfile.TemporaryDirectory(dir=folder) as workshop:
                _build(Path(workshop)).rename(root)
    return root


def _build(workshop: Path) -> Path:
    downloads, root = workshop / "downloads", workshop / "root"
    downloads.mkdir()
    root.mkdir(mode=0o755)
    _download(downloads)
    for package in sorted(downloads.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)], cwd=workshop)
    for script in root.glob("usr/lib/erlang/**/bin/erl"):
        _make_movable(script)
    return root


def _download(downloads: Path) -> None:
    """From the package lists of the system; where those are empty or too old, from lists of our own."""
    options = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    try:
        _download_closure(downloads, options)
    except Failure:
        options += _private_lists(downloads)
        _run(["apt-get", "-qq", *options, "update"], cwd=downloads)
        _download_closure(downloads, options)


def _private_lists(downloads: Path) -> list[str]:
    lists, cache = downloads / "lists", downloads / "cache"
    for folder in (lists / "partial", cache / "archives" / "partial"):
        folder.mkdir(parents=True)
    return ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]


def _download_closure(downloads: Path, options: list[str]) -> None:
    listing = _run(["apt-cache", *options, "depends", *_CLOSURE], cwd=downloads)
    known = sorted({line for line in listing.splitlines() if re.match(r"[a-z0-9]", line)})
    wanted = [name for name in known if name.startswith(("erlang-", "rabbitmq-"))]
    wanted += [name for name in known if re.match(r"lib|zlib", name) and not _is_installed(name)]
    _run(["apt-get", "-qq", *options, "download", *wanted], cwd=downloads)


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ", package]
    return "installed" in subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()


def _make_movable(erl: Path) -> None:
    """Let the script find its own folder: Debian's has /usr/lib/erlang baked in, and ignores ERL_ROOTDIR."""
    up = "../.." if "erts-" in erl.parent.parent.name else ".."
    itself = f'"$(cd "$(dirname "$(readlink -f "$0")")/{up}" && pwd -P)"'
    erl.write_text(re.sub(r"ROOTDIR=/usr/lib/erlang\b", lambda _: f"ROOTDIR={itself}", erl.read_text()))


def _run(command: list[str], *, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Failure(
            f"RabbitMQ's packages could not be had from the distribution ({' '.join(command[:1])}: {reason})."
        )
    return done.stdout
