import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Literal

import psutil
import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError
from argon2.low_level import Type

from workers.users.passwords import OWASP, Passwords

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    made = Passwords(hasher=QUICK)
    yield made
    await made.aclose()


async def test_the_right_password_is_right(passwords: Passwords) -> None:
    assert await passwords.verify("correct horse", await passwords.hash("correct horse"))


async def test_another_password_is_wrong(passwords: Passwords) -> None:
    assert not await passwords.verify("correct house", await passwords.hash("correct horse"))


async def test_the_same_password_has_two_hashes(passwords: Passwords) -> None:
    assert await passwords.hash("correct horse") != await passwords.hash("correct horse")


async def test_the_same_characters_from_another_keyboard_are_right(passwords: Passwords) -> None:
    assert await passwords.verify("cafe\u0301 au lait", await passwords.hash("caf\u00e9 au lait"))


async def test_nobody_is_verified_by_the_password_of_nobody(passwords: Passwords) -> None:
    assert not await passwords.verify("the password of nobody", None)


async def test_a_damaged_hash_is_a_defect_and_not_a_wrong_password(passwords: Passwords) -> None:
    with pytest.raises(InvalidHashError):
        await passwords.verify("correct horse", "damaged")


async def test_a_hash_with_other_parameters_is_outdated(passwords: Passwords) -> None:
    assert passwords.is_outdated(OWASP.hash("correct horse"))
    assert not passwords.is_outdated(QUICK.hash("correct horse"))


async def test_hashes_are_argon2id_with_the_parameters_of_owasp() -> None:
    passwords = Passwords()
    parameters = extract_parameters(await passwords.hash("correct horse"))
    await passwords.aclose()
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19456, 2, 1)


async def test_an_unknown_account_costs_as_much_work_as_a_known_one() -> None:
    hasher = Watched()
    passwords = Passwords(hasher=hasher)
    await passwords.verify("correct horse", hasher.hash("other"))
    await passwords.verify("correct horse", None)
    await passwords.aclose()
    known, unknown = hasher.verified
    assert extract_parameters(known) == extract_parameters(unknown)


async def test_no_more_than_so_many_are_worked_on_at_once() -> None:
    hasher = Watched()
    passwords = Passwords(at_once=2, hasher=hasher)
    await asyncio.gather(*(passwords.hash(f"password {number}") for number in range(8)))
    await passwords.aclose()
    assert hasher.busiest == 2


async def test_the_event_loop_does_none_of_the_work() -> None:
    hasher = Watched()
    passwords = Passwords(hasher=hasher)
    hasher.threads.clear()
    await passwords.verify("correct horse", await passwords.hash("correct horse"))
    await passwords.aclose()
    assert hasher.threads
    assert threading.get_ident() not in hasher.threads


class Watched(PasswordHasher):
    """A quick hasher that remembers what it was asked to do."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.verified: list[str] = []
        self.threads: set[int] = set()
        self.busy = self.busiest = 0
        self._lock = threading.Lock()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.threads.add(threading.get_ident())
        with self._lock:
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        time.sleep(0.01)
        with self._lock:
            self.busy -= 1
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.threads.add(threading.get_ident())
        self.verified.append(str(hash))
        return super().verify(hash, password)


async def test_the_memory_of_a_hash_is_given_back() -> None:
    passwords, process = Passwords(at_once=2), psutil.Process()
    before = process.memory_info().rss
    for _ in range(2):
        await asyncio.gather(*(passwords.hash("correct horse") for _ in range(2)))
    await passwords.aclose()
    assert process.memory_info().rss - before < OWASP.memory_cost * 1024 / 2
