"""The Node peers."""

from pathlib import Path

from tests.bench.ground import FOLDER
from tests.support import node

_SOURCES = Path(__file__).parent / "peers"
_PLACE = FOLDER / "peers"


def peer(script: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a peer. Raises `Failure` without Node or its packages."""
    node.install(_SOURCES, _PLACE)
    return (node.program(), str(_PLACE / script), *arguments)


def program() -> str:
    """Node itself. Raises `Failure` where it is missing."""
    return node.program()


def versions() -> dict[str, str]:
    """What the peers are made of."""
    return node.versions(_SOURCES, _PLACE)
