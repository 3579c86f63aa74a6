"""How a list goes on and what a search means. Pure.

A cursor is opaque to clients: it holds the key of the last element seen, under the list's name, so that a cursor of one
list is not taken for another's. Pages follow the key, not a position: what is added or removed meanwhile moves nothing.
"""

import base64
import re
import string
from collections.abc import Sequence

from contracts.base import FieldError, Refusal, invalid_request

START = ""
"""The key that comes before every other."""

_CURSOR = re.compile(r"[a-z]+:([A-Za-z0-9._-]{1,64})")
_SPACES = str.maketrans({mark: " " for mark in string.punctuation})


def cursor(listing: str, key: str) -> str:
    """Where a list goes on after the element with this key."""
    return base64.urlsafe_b64encode(f"{listing}:{key}".encode()).decode().rstrip("=")


def key_after(listing: str, at: str | None) -> str | Refusal:
    """The key in a cursor that `cursor` made for this list; `START` without one."""
    if at is None:
        return START
    key = _key(at)
    if key is None or cursor(listing, key) != at:
        return invalid_request("", FieldError(pointer="/cursor", detail="Not a cursor of this list."))
    return key


def _key(at: str) -> str | None:
    try:
        said = base64.urlsafe_b64decode(at + "=" * (-len(at) % 4)).decode()
    except ValueError:
        return None
    found = _CURSOR.fullmatch(said)
    return found and found[1]


def next_cursor(listing: str, keys: Sequence[str], limit: int) -> str | None:
    """The cursor after `limit` elements, where one more than that was found."""
    return cursor(listing, keys[limit - 1]) if len(keys) > limit else None


def search_query(words: str) -> str | None:
    """A PostgreSQL tsquery (text) that finds all of these words, the last one also as a beginning: `'wild' & 'flo':*`.

    None where there is no word. Punctuation separates words here and in the searched text (tables.py) alike, or the
    text-search parser would take `tea/coffee` for the name of a file; it also leaves nothing that needs quoting.
    """
    found = words.translate(_SPACES).split()
    return " & ".join(f"'{word}'" for word in found) + ":*" if found else None
