"""Whether the process of this container is well, for Docker's HEALTHCHECK and Kubernetes' start-up probe.

Promise: a service is well when it serves and all its connections to the broker stand; what answers HTTP, when it
answers with no error. It imports next to nothing: it runs every few seconds.
"""

import re
import urllib.error
import urllib.request

_LINKS = re.compile(r"^hedgerow_broker_up(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_WITHIN = 4.0


def why_not_well(url: str | None, *, metrics_port: str) -> str | None:
    """One sentence; None where all is well. Without a URL the page of metrics tells."""
    address = url or f"http://127.0.0.1:{metrics_port}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=_WITHIN) as answer:  # noqa: S310 - the caller's own address
            page = answer.read().decode()
    except (OSError, ValueError) as error:
        return f"{address} does not answer as it should: {error}."
    return None if url else _links_down(page)


def _links_down(page: str) -> str | None:
    links = [float(value) for value in _LINKS.findall(page)]
    if not links:
        return "It does not serve yet."
    return None if all(links) else "A connection to the broker does not stand."
