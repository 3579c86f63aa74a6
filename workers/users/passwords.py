"""Passwords: kept as argon2id hashes, worked on off the event loop, a few at a time.

Parameters: OWASP's Password Storage Cheat Sheet (19 MiB, two passes, one lane). A hash takes a core for tens of
milliseconds, so no more than `at_once` are worked on; the others wait their turn, and who gives up leaves the line.
"""

import asyncio
import contextlib
import ctypes
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import NewType

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

PasswordHash = NewType("PasswordHash", str)
"""An argon2id hash in PHC form: it names its own parameters and salt."""

_M_MMAP_THRESHOLD = -3
OWASP = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class Passwords:
    """Hashes and verifies. An account that isn't there takes as long to verify as one that is."""

    def __init__(self, *, at_once: int = 2, hasher: PasswordHasher = OWASP) -> None:
        _give_memory_back()
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="argon2")
        self._nobodys = hasher.hash("the password of nobody")

    async def hash(self, password: str) -> PasswordHash:
        """The password's hash, with a fresh salt."""
        loop = asyncio.get_running_loop()
        return PasswordHash(await loop.run_in_executor(self._threads, self._hasher.hash, _prepared(password)))

    async def verify(self, password: str, kept: str | None) -> bool:
        """Whether the password is the one behind `kept`; without a kept hash it isn't, after the same work."""
        right = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._matches, _prepared(password), kept or self._nobodys
        )
        return right and kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether `kept` was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    async def aclose(self) -> None:
        """Let the threads go; what still waits is not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: str, kept: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except VerifyMismatchError:
            return False


def _give_memory_back() -> None:
    """Have the memory of each hash returned when it is done: glibc would keep what was freed once for the next time, in
    every thread (mallopt(3), M_MMAP_THRESHOLD)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _prepared(password: str) -> str:
    """The same password from every keyboard (NIST SP 800-63B: Unicode is normalised before it is hashed)."""
    return unicodedata.normalize("NFKC", password)
