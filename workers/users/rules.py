"""The rules of the users service, as pure functions."""

import unicodedata
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from contracts.base import FieldError, Refusal, invalid_request
from contracts.users import ChangeMe

CUSTOMER = ("customer",)
STAFF = ("staff",)
REFRESH_LIFETIME = timedelta(days=30)
GRACE = timedelta(seconds=10)


def normalised(email: str) -> str:
    """The form in which addresses are kept and compared: two that differ in case only are one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", email).lower())


def profile_changes(ask: ChangeMe) -> dict[str, Any] | Refusal:
    """What of the profile changes. A field left out is not touched; a null removes the address, but nobody is without a
    name."""
    if "name" in ask.model_fields_set and ask.name is None:
        return invalid_request("", FieldError(pointer="/name", detail="A name can't be removed."))
    return ask.model_dump(mode="json", include=ask.model_fields_set)


class Verdict(Enum):
    """What becomes of a refresh token that somebody presents (RFC 9700, 4.14.2)."""

    ROTATE = auto()
    REPEAT = auto()
    """Spent a moment ago: the answer may have been lost on its way, so it is given again."""
    REFUSE = auto()
    END_FAMILY = auto()
    """Spent before: either the owner or the presenter is a thief, so both are logged out."""


def judged(*, ended_at: datetime | None, expires_at: datetime, spent_at: datetime | None, now: datetime) -> Verdict:
    """The verdict on a token, from its family's end, its own expiry and when it was spent."""
    if ended_at is not None or expires_at <= now:
        return Verdict.REFUSE
    if spent_at is None:
        return Verdict.ROTATE
    return Verdict.REPEAT if now - spent_at <= GRACE else Verdict.END_FAMILY
