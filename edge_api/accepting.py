"""What media types a client accepts (RFC 9110, 12.5.1).

Promise: the most specific range that fits decides, and a quality of 0 excludes; who says nothing, or nothing that can
be read, gets what there is.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from edge_api.problems import RefusedError, not_acceptable
from edge_api.responses import JSON, Header

PLAIN = frozenset({None, b"*/*", JSON})
"""What nearly every client says, and what accepts JSON without a closer look."""
MAX_ACCEPT = 1024
_RANGE = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+)/([!#$%&'*+.^_`|~0-9a-z-]+)((?:\s*;[^;]*)*)")
_QUALITY = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)")


def must_accept(headers: Iterable[Header], media_type: bytes) -> None:
    """Raises RefusedError if something of this type may not be sent to whom these headers come from."""
    accept = b",".join(value for name, value in headers if name == b"accept")
    if len(accept) <= MAX_ACCEPT and not _accepts(accept, media_type):
        raise RefusedError(not_acceptable())


@lru_cache(maxsize=256)
def _accepts(accept: bytes, media_type: bytes) -> bool:
    parts = [part.strip() for part in accept.decode("latin-1").lower().split(",")]
    found = [_RANGE.fullmatch(part) for part in parts if part]
    if not found or None in found:
        return True
    qualities = {f"{one[1]}/{one[2]}": _quality(one[3]) for one in found if one is not None}
    wanted = media_type.decode()
    fitting = (wanted, f"{wanted.partition('/')[0]}/*", "*/*")
    return next((qualities[one] for one in fitting if one in qualities), 0.0) > 0


def _quality(parameters: str) -> float:
    found = _QUALITY.search(parameters)
    return 1.0 if found is None else float(found[1])
