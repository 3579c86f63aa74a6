"""Which address a request comes from."""

import pytest

from edge_api.clients import Clients, networks

PROXIES = Clients(networks("10.0.0.0/8, fd00::/8"))


def address(clients: Clients, peer: str | None, forwarded: bytes | None = None) -> str:
    headers = {} if forwarded is None else {b"x-forwarded-for": forwarded}
    return clients.address({"client": None if peer is None else (peer, 4711)}, headers)


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", b"198.51.100.1", "192.0.2.7"),
        ("10.1.2.3", b"198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", b"203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", b"203.0.113.9, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.1.2.3", b"", "10.1.2.3"),
        ("10.1.2.3", b"198.51.100.1, nonsense", "10.1.2.3"),
        ("10.1.2.3", b"nonsense, 198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", b"198.51.100.1," + b"10.0.0.1," * 50, "10.0.0.1"),
        ("10.1.2.3", b"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fd00::1", b"198.51.100.1", "198.51.100.1"),
        ("::ffff:192.0.2.7", None, "192.0.2.7"),
        (None, None, "unknown"),
    ],
)
def test_only_a_trusted_proxy_speaks_for_somebody_else(peer: str | None, forwarded: bytes | None, found: str) -> None:
    assert address(PROXIES, peer, forwarded) == found


def test_nobody_is_trusted_who_was_not_named() -> None:
    assert address(Clients(), "10.1.2.3", b"198.51.100.1") == "10.1.2.3"


def test_all_addresses_of_one_ipv6_network_are_one_client() -> None:
    one, other = (address(Clients(), f"2001:db8:1:2::{end}") for end in ("1", "ffff"))
    assert one == other != address(Clients(), "2001:db8:1:3::1")


def test_what_is_no_network_is_not_taken() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        networks("10.0.0.0/99")
