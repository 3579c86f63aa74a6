"""What the name of a broker login says; the broker vouches for it with every message of presence.

Promise: `SERVICE@HOST` speaks for one service and claims any path that is free; `SERVICE:/PREFIX,/PREFIX@HOST` claims
only paths that are, or lie below, its prefixes. `@HOST` tells virtual hosts apart, and may be missing.
"""

from collections.abc import Iterable


def limited(service: str, prefixes: Iterable[str]) -> str:
    """The login of a service that may claim no paths but these and what lies below them."""
    return f"{service}:{','.join(prefixes)}"


def service_of(login: str) -> str:
    """For whom the login speaks."""
    return login.partition("@")[0].partition(":")[0]


def prefixes_of(login: str) -> tuple[str, ...] | None:
    """Below what its paths must be; None where they may be anywhere."""
    _, has_limit, prefixes = login.partition("@")[0].partition(":")
    return tuple(filter(None, prefixes.split(","))) if has_limit else None


def may_claim(login: str, path: str) -> bool:
    """Whether the login reaches so far."""
    prefixes = prefixes_of(login)
    return prefixes is None or any(f"{path.rstrip('/')}/".startswith(f"{prefix}/") for prefix in prefixes)
