"""Ids. Promise: ids made later sort later (UUID version 7, RFC 9562)."""

import secrets
from uuid import UUID

import uuid_utils


def new_id() -> UUID:
    """A fresh id for something that is kept."""
    return UUID(bytes=uuid_utils.uuid7().bytes)


def new_token() -> str:
    """128 random bits in hex: unguessable, for correlation ids and names that must not race."""
    return secrets.token_hex(16)
