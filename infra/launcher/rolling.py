"""When a new process may take the place of an old one: its page of metrics tells.

Promise: the new one serves, and lacks nothing (a connection to the broker; of an edge: what readiness consists of)
that the old one does not lack as well. Where the broker is away from both, that is no reason to wait.
"""

import re

from infra.containers.health import NotWellError, page

_LOOKS = re.compile(r"^hedgerow_(?:broker_up|ready)(\{[^}]*\})? (\S+)$", re.MULTILINE)


def is_as_well_as(new: int, old: int) -> bool:
    """Whether the process with the first port of metrics could take over from that with the second."""
    looks = _looks(new)
    return bool(looks) and all(look or not _looks(old).get(name, False) for name, look in looks.items())


def _looks(port: int) -> dict[str, bool]:
    try:
        found = _LOOKS.findall(page(f"http://127.0.0.1:{port}/metrics"))
    except NotWellError:
        return {}
    return {name: float(value) == 1 for name, value in found}
