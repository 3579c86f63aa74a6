"""Idempotency as Stripe does it: the first answer of a key is kept and replayed, failures included.

What never began (a malformed request, a wrong secret key, a key in progress) is not kept.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from infra.sandbox_gateway.ledger import Ledger
from infra.sandbox_gateway.payment import Answer, error


class Keys:
    """One effect a key, however often and however concurrently it is asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._in_progress: set[str] = set()

    def replay(self, key: str, fingerprint: str) -> tuple[Answer, bool] | None:
        """What the key has to say already, and whether it is a replay; None when the key is free."""
        if kept := self._ledger.kept_answer(key):
            first_fingerprint, answer = kept
            if first_fingerprint == fingerprint:
                return answer, True
            message = "This idempotency key was used for another request."
            return error(400, "idempotency_error", "idempotency_error", message), False
        if key in self._in_progress:
            message = "A request with this idempotency key is in progress."
            return error(409, "idempotency_error", "idempotency_key_in_use", message), False
        return None

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """While the body runs, others with this key are told that it is in progress."""
        self._in_progress.add(key)
        try:
            yield
        finally:
            self._in_progress.discard(key)

    def do(self, key: str, fingerprint: str, effect: Callable[[], Answer], *, tell_at: float | None) -> Answer:
        """The effect, its answer and its webhooks, in one transaction."""

        def effect_and_answer() -> Answer:
            answer = effect()
            self._ledger.keep_answer(key, fingerprint, answer)
            return answer

        return self._ledger.together(effect_and_answer, tell_at=tell_at)


def fingerprint_of(method: str, path: str, body: bytes) -> str:
    """The same for the same request, different for another."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).hexdigest()
