"""The Node peers: their packages come from the npm registry, once, into a folder that git ignores."""

import json
import shutil
import subprocess
from pathlib import Path

from infra.launcher.failure import Failure
from tests.bench.ground import FOLDER

_SOURCES = Path(__file__).parent / "peers"
_PLACE = FOLDER / "peers"
_INSTALL = ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")


def peer(script: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a peer. Raises `Failure` without Node or its packages."""
    _install()
    return (program(), str(_PLACE / script), *arguments)


def program() -> str:
    """Node itself. Raises `Failure` where it is missing."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise Failure("The peers need Node 20 or newer: install nodejs and npm.")
    return node


def versions() -> dict[str, str]:
    """What the peers are made of."""
    found: dict[str, str] = {}
    for place in sorted(_SOURCES.rglob("package.json")):
        folder = _PLACE / place.parent.relative_to(_SOURCES)
        for package in json.loads(place.read_text())["dependencies"]:
            installed = json.loads((folder / "node_modules" / package / "package.json").read_text())["version"]
            found[package] = f"{found[package]} and {installed}" if package in found else installed
    return found


def _install() -> None:
    """The scripts are copied beside their packages, because Node looks for those beside the scripts."""
    shutil.copytree(_SOURCES, _PLACE, dirs_exist_ok=True)
    for place in _SOURCES.rglob("package.json"):
        folder = _PLACE / place.parent.relative_to(_SOURCES)
        stamp = folder / ".installed"
        if stamp.exists() and stamp.read_text() == place.read_text():
            continue
        done = subprocess.run(_INSTALL, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"npm could not install the peers: {done.stderr.strip()[-500:]}")
        stamp.write_text(place.read_text())
