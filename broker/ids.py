"""Ids. Promise: ids made later sort later (UUID version 7, RFC 9562)."""

import os
import secrets
from uuid import UUID

import uuid_utils

_AT_ONCE = 256
_tokens: list[str] = []
os.register_at_fork(after_in_child=_tokens.clear)  # else parent and child would give out the same ones


def new_id() -> UUID:
    """A fresh id for something that is kept."""
    return UUID(bytes=uuid_utils.uuid7().bytes)


def new_token() -> str:
    """128 random bits in hex: unguessable, for correlation ids and names that must not race."""
    try:
        return _tokens.pop()
    except IndexError:
        block = secrets.token_hex(16 * _AT_ONCE)  # the system is asked once for many
        _tokens.extend(block[at : at + 32] for at in range(0, len(block), 32))
        return secrets.token_hex(16)
