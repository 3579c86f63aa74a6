"""Whether the process of this container is well, for Docker's HEALTHCHECK and Kubernetes' probes.

Promise: a service is well when it serves and all its connections to the broker stand; what answers HTTP, when it
answers with no error. One that only lacks its broker lives: to start it anew would mend nothing. This imports next to
nothing, since it runs every few seconds.
"""

import re
import urllib.request
from http.client import HTTPException

_LINKS = re.compile(r"^hedgerow_broker_up(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_WITHIN = 4.0


class NotWellError(Exception):
    """The message is one sentence for the operator."""


def check(url: str | None, *, metrics_port: str, without_broker: bool = False) -> None:
    """Raises NotWellError. Without a URL the page of metrics tells; a process that lives is well `without_broker`."""
    if url:
        page(url)
        return
    links = [float(value) for value in _LINKS.findall(page(f"http://127.0.0.1:{metrics_port}/metrics"))]
    if not links:
        raise NotWellError("It does not serve: its event loop tells nothing.")
    if not (without_broker or all(links)):
        raise NotWellError("A connection to the broker does not stand.")


def page(address: str) -> str:
    """What is there. Raises NotWellError."""
    try:
        with urllib.request.urlopen(address, timeout=_WITHIN) as answer:  # noqa: S310 - the caller's own address
            return str(answer.read().decode())
    except (OSError, ValueError, HTTPException) as error:
        raise NotWellError(f"{address} does not answer as it should: {error}.") from error
