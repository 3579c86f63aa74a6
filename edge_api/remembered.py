"""Callers whose tokens were verified.

Promise: nobody is remembered longer than their token is good for, nor after it was revoked; of too many, those are
forgotten who have not been seen for longest.
"""

import time
from collections import OrderedDict
from uuid import UUID

from contracts.base import Caller

MOST = 10_000


class Remembered:
    """Callers by what they sent as Authorization, and what was sent by session and by user."""

    def __init__(self) -> None:
        self._callers: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._sent: dict[UUID, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._callers)

    def caller(self, authorization: bytes) -> Caller | None:
        """Who sent this, if it is remembered and still good."""
        found = self._callers.get(authorization)
        if found is None:
            return None
        expires, caller = found
        if expires < time.time():
            self._drop(authorization)
            return None
        self._callers.move_to_end(authorization)
        return caller

    def keep(self, authorization: bytes, caller: Caller, *, expires: float) -> None:
        """Remember who sent this, until a moment in Unix time."""
        self._callers[authorization] = (expires, caller)
        for subject in (caller.id, caller.session):
            if subject is not None:
                self._sent.setdefault(subject, set()).add(authorization)
        if len(self._callers) > MOST:
            self._drop(next(iter(self._callers)))

    def forget(self, subject: UUID) -> None:
        """Whatever this user sent, or was sent in this session, is verified anew."""
        for authorization in list(self._sent.get(subject, ())):
            self._drop(authorization)

    def clear(self) -> None:
        """Forget everybody."""
        self._callers.clear()
        self._sent.clear()

    def _drop(self, authorization: bytes) -> None:
        _, caller = self._callers.pop(authorization)
        for subject in (caller.id, caller.session):
            if subject is not None:
                sent = self._sent[subject]
                sent.remove(authorization)
                if not sent:
                    del self._sent[subject]
