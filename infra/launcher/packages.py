"""RabbitMQ, Prometheus and Redis from Debian's or Ubuntu's own packages, unpacked into a folder: no root, and nothing
is installed."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.launcher.failure import Failure

_OTHER_RELATIONS = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
_PAGES = b"/usr/share/prometheus/web/"
"""Where Debian's Prometheus looks for its pages; a path that is as long, and relative, makes it movable."""
Wanted = Callable[[Path, list[str]], list[str]]
"""Which packages to download, asked of apt in this folder with these options."""


class _CommandFailed(Exception):
    """One of Debian's tools did not do what it was asked."""


def can_unpack() -> bool:
    """Whether this machine has the tools of a Debian: apt-get, apt-cache and dpkg-deb."""
    return all(shutil.which(tool) for tool in ("apt-get", "apt-cache", "dpkg-deb"))


def unpack_rabbitmq(folder: Path) -> Path:
    """Download and unpack RabbitMQ with its Erlang into `folder`, once; answers the unpacked root.

    Safe to run several times at once. Raises `Failure` when the packages can't be had.
    """
    return _unpack("RabbitMQ", folder / "rabbitmq", _rabbitmq)


def unpack_prometheus(folder: Path) -> Path:
    """The same for Prometheus with what its pages need. It finds them when it is started in the unpacked root."""
    return _unpack("Prometheus", folder / "prometheus", _prometheus)


def unpack_redis(folder: Path) -> Path:
    """The same for Redis with the libraries that this machine lacks."""
    return _unpack("Redis", folder / "redis", _redis)


def unpack(what: str, root: Path, packages: Sequence[str]) -> Path:
    """The same for these packages and no others; `root` is what they are unpacked into."""
    return _unpack(what, root, lambda *_: list(packages))


def _unpack(what: str, root: Path, wanted: Wanted) -> Path:
    root = root.absolute()
    root.parent.mkdir(parents=True, exist_ok=True)
    if root.is_dir():
        return root
    with (root.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            with tempfile.TemporaryDirectory(dir=root.parent) as workshop:
                try:
                    _build(Path(workshop), wanted).rename(root)
                except _CommandFailed as failed:
                    reason = f"{what}'s packages could not be had from the distribution ({failed})."
                    raise Failure(reason) from failed
    return root


def _build(workshop: Path, wanted: Wanted) -> Path:
    downloads, root = workshop / "downloads", workshop / "root"
    downloads.mkdir()
    root.mkdir(mode=0o755)
    _download(downloads, wanted)
    for package in sorted(downloads.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)], cwd=workshop)
    for script in root.glob("usr/lib/erlang/**/bin/erl"):
        _make_movable(script)
    for program in root.glob("usr/bin/prometheus"):
        program.write_bytes(program.read_bytes().replace(_PAGES, _PAGES[1:] + b"/"))
    return root


def _download(downloads: Path, wanted: Wanted) -> None:
    """From the package lists of the system; where those are empty or too old, from lists of our own."""
    options = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    try:
        _run(["apt-get", "-qq", *options, "download", *wanted(downloads, options)], cwd=downloads)
    except _CommandFailed:
        options += _private_lists(downloads)
        _run(["apt-get", "-qq", *options, "update"], cwd=downloads)
        _run(["apt-get", "-qq", *options, "download", *wanted(downloads, options)], cwd=downloads)


def _private_lists(downloads: Path) -> list[str]:
    lists, cache = downloads / "lists", downloads / "cache"
    for folder in (lists / "partial", cache / "archives" / "partial"):
        folder.mkdir(parents=True)
    return ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]


def _rabbitmq(downloads: Path, options: list[str]) -> list[str]:
    known = _closure("rabbitmq-server", downloads, options)
    wanted = [name for name in known if name.startswith(("erlang-", "rabbitmq-"))]
    return wanted + [name for name in known if re.match(r"lib|zlib", name) and not _is_installed(name)]


def _redis(downloads: Path, options: list[str]) -> list[str]:
    known = _closure("redis-server", downloads, options)
    wanted = [name for name in known if name.startswith("redis-")]
    return wanted + [name for name in known if name.startswith("lib") and not _is_installed(name)]


def _prometheus(downloads: Path, options: list[str]) -> list[str]:
    known = _closure("prometheus", downloads, options)
    return [name for name in known if name == "prometheus" or name.startswith(("libjs-", "fonts-"))]


def _closure(package: str, downloads: Path, options: list[str]) -> list[str]:
    without = [f"--no-{relation}" for relation in _OTHER_RELATIONS]
    listing = _run(["apt-cache", *options, "depends", "--recurse", *without, package], cwd=downloads)
    return sorted({line for line in listing.splitlines() if re.match(r"[a-z0-9]", line)})


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
        raise _CommandFailed(f"{command[0]}: {reason}")
    return done.stdout
