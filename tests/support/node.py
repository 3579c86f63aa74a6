"""Programs for Node: their packages come from the npm registry, once, into a folder that git ignores."""

import json
import shutil
import subprocess
from pathlib import Path

from infra.launcher.failure import Failure

_INSTALL = ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")


def program() -> str:
    """Node itself. Raises `Failure` where it is missing."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise Failure("This needs Node 20 or newer: install nodejs and npm.")
    return node


def install(sources: Path, place: Path) -> None:
    """Copy scripts and bring the packages that each package.json among them names. Raises `Failure`.

    The scripts are copied beside their packages, because Node looks for those beside the scripts.
    """
    program()
    shutil.copytree(sources, place, dirs_exist_ok=True)
    for wanted in sources.rglob("package.json"):
        folder = place / wanted.parent.relative_to(sources)
        stamp = folder / ".installed"
        if stamp.exists() and stamp.read_text() == wanted.read_text():
            continue
        done = subprocess.run(_INSTALL, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"npm could not install {wanted.parent.name}: {done.stderr.strip()[-500:]}")
        stamp.write_text(wanted.read_text())


def versions(sources: Path, place: Path) -> dict[str, str]:
    """The packages that are named, as they are installed."""
    found: dict[str, str] = {}
    for wanted in sorted(sources.rglob("package.json")):
        folder = place / wanted.parent.relative_to(sources)
        for package in json.loads(wanted.read_text())["dependencies"]:
            installed = json.loads((folder / "node_modules" / package / "package.json").read_text())["version"]
            found[package] = f"{found[package]} and {installed}" if package in found else installed
    return found
