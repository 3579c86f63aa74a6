"""Which address a request comes from.

Promise: it is the peer's, unless the peer is a proxy that the operator trusts; then it is the last address in
X-Forwarded-For that is no such proxy. What a client writes into that header itself stands before it, and counts for
nothing. Of an IPv6 address only the network counts (64 bits): a client has all the others for itself.
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Networks = tuple[IPv4Network | IPv6Network, ...]
_HOPS = 20
"""Of a longer chain only the end is read."""


def networks(listed: str) -> Networks:
    """Addresses and networks, separated by commas. Raises ValueError."""
    return tuple(ip_network(one.strip()) for one in listed.split(",") if one.strip())


class Clients:
    """Who may say on whose behalf they ask."""

    def __init__(self, trusted: Networks = ()) -> None:
        self._trusted = trusted
        self._is_trusted = lru_cache(maxsize=1024)(self._lies_within)

    def address(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """The address, as limits count it."""
        peer: str = (scope.get("client") or ("unknown",))[0]
        if self._trusted and self._is_trusted(peer):
            hops = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")[-_HOPS:]
            for hop in filter(None, map(str.strip, reversed(hops))):
                if not is_address(hop):
                    break
                peer = hop
                if not self._is_trusted(hop):
                    break
        return _network_of(peer) if ":" in peer else peer

    def _lies_within(self, address: str) -> bool:
        return is_address(address) and any(ip_address(address) in network for network in self._trusted)


def is_address(text: str) -> bool:
    """Whether this is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def _network_of(address: str) -> str:
    try:
        given = IPv6Address(address)
    except ValueError:
        return address
    return str(given.ipv4_mapped or ip_network((int(given) >> 64 << 64, 64)))
