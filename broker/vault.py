"""Personal data at rest: sealed under a key for each person, and gone with that key.

Promise: whoever has the tables alone, or the tables with the keys but not the master key, reads nothing. What is sealed
opens only where it was sealed (the place, and whose it is, are authenticated). Keys are never kept in memory beyond
a transaction, so that one that is destroyed is gone in every instance at once. For who is erased no key is ever made
again. A master key that does not fit is refused at the start, before anything is written.

A person is a UUID: an account, or a guest's order.
"""

import hmac
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.master_keys import NAME_BYTES, NONCE_BYTES, MasterKeyError, MasterKeys, derived
from broker.telemetry import log

OURS = UUID(int=0)
"""Whose key is the service's own: from it comes the one for look-ups, which outlives every master key."""
REWRAPPED_AT_ONCE = 500
_FOREIGN = "SELECT 1 FROM person_keys WHERE substring(wrapped for $2) <> ALL($1::bytea[]) LIMIT 1"
_OURS_AND_ANYBODY = """
SELECT (SELECT wrapped FROM person_keys WHERE person = $1) AS ours, EXISTS (SELECT FROM person_keys) AS anybody
"""
_KEYS = "SELECT person, wrapped FROM person_keys WHERE person = ANY($1)"
_ADD = "INSERT INTO person_keys (person, wrapped, lookup) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING true"
_FIND = "SELECT person FROM person_keys WHERE lookup = $1"
_STAY_AS_IT_IS = "SELECT pg_advisory_xact_lock_shared($1)"
_IS_ERASED = "SELECT true FROM erasures WHERE person = $1"
_ABOUT_TO_ERASE = "SELECT pg_advisory_xact_lock($1)"
_ERASE = "INSERT INTO erasures (person) VALUES ($1) ON CONFLICT DO NOTHING"
_DESTROY = "DELETE FROM person_keys WHERE person = $1"
_STALE = """
SELECT person, wrapped FROM person_keys WHERE substring(wrapped for $2) <> $1 ORDER BY person LIMIT $3 FOR UPDATE
"""
_REWRAP = "UPDATE person_keys SET wrapped = $2 WHERE person = $1"


def open_vault() -> "Vault":
    """The vault of a process whose environment names the master keys. Ends it with one sentence and status 1 where they
    can't be had."""
    try:
        return Vault(MasterKeys.of(os.environ))
    except MasterKeyError as error:
        sys.exit(str(error))


class SpoiltError(Exception):
    """What was sealed was changed, or is not where it was sealed."""


@dataclass(frozen=True, slots=True, repr=False)
class PersonKey:
    """Seals and opens what one person's is."""

    person: UUID
    _cipher: AESGCM

    def seal(self, place: str, content: bytes) -> bytes:
        """The content, for `open` at the same place: a table, a column and what names the row."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, self._about(place))

    def open(self, place: str, sealed: bytes) -> bytes:
        """What was sealed there. Raises SpoiltError."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._about(place))
        except (InvalidTag, ValueError):
            raise SpoiltError(f"what was sealed at {place} does not open") from None

    def _about(self, place: str) -> bytes:
        return f"{place} of {self.person}".encode()


class Vault:
    """A service's keys of people; it is unlocked once its tables are there."""

    def __init__(self, masters: MasterKeys) -> None:
        self._masters = masters
        self._service = ""
        self._lookup_key: bytes | None = None
        self._all_wrapped_by: bytes | None = None

    async def unlock(self, connection: asyncpg.Connection, service: str) -> None:
        """Find that the master keys fit, and have the service's own key. Raises MasterKeyError."""
        self._service = service
        if await connection.fetchval(_FOREIGN, self._masters.names, NAME_BYTES):
            raise MasterKeyError(
                "The master key does not fit: some keys of people were wrapped by another one. Nothing was changed."
            )
        ((ours, anybody),) = await connection.fetch(_OURS_AND_ANYBODY, OURS)
        if ours is None and anybody:
            raise MasterKeyError("The service's own key is missing in person_keys: restore the table as a whole.")
        if ours is None:
            await People(self, connection).add(OURS)  # another instance may just have done the same
            ((ours, _),) = await connection.fetch(_OURS_AND_ANYBODY, OURS)
        self._lookup_key = derived(self._unwrapped(OURS, ours), "look-ups")

    def lookup(self, text: str) -> bytes:
        """What a person is found by, instead of the text itself (a blind index: HMAC-SHA256)."""
        if self._lookup_key is None:
            raise RuntimeError("the vault is not unlocked")
        return hmac.digest(self._lookup_key, text.encode(), "sha256")

    async def rewrap(self, connection: asyncpg.Connection) -> bool:
        """Read the master keys again, and wrap some of the keys of people that the first one did not wrap; whether
        there may be more. Raises MasterKeyError."""
        self._masters.reread()
        name = self._masters.names[0]
        if name == self._all_wrapped_by:
            return False
        stale = await connection.fetch(_STALE, name, NAME_BYTES, REWRAPPED_AT_ONCE)
        renewed = [(row["person"], self.wrapped(row["person"], self._unwrapped(*row))) for row in stale]
        await connection.executemany(_REWRAP, renewed)
        if len(stale) < REWRAPPED_AT_ONCE:
            self._all_wrapped_by = name
        return len(stale) == REWRAPPED_AT_ONCE

    def wrapped(self, person: UUID, key: bytes) -> bytes:
        """A key as it is kept."""
        return self._masters.wrap(key, self._about(person))

    def key(self, person: UUID, wrapped: bytes) -> PersonKey:
        """The key that is kept so. Raises MasterKeyError."""
        return PersonKey(person, AESGCM(self._unwrapped(person, wrapped)))

    def _unwrapped(self, person: UUID, wrapped: bytes) -> bytes:
        return self._masters.unwrap(wrapped, self._about(person))

    def _about(self, person: UUID) -> bytes:
        return f"{self._service} {person}".encode()


class People:
    """The keys of people within one transaction; `seen` are those whose data it may have seen."""

    def __init__(self, vault: Vault, connection: asyncpg.Connection) -> None:
        self._vault = vault
        self._connection = connection
        self.seen: dict[UUID, PersonKey] = {}

    def lookup(self, text: str) -> bytes:
        """What a person is found by, instead of the text itself."""
        return self._vault.lookup(text)

    async def keys(self, people: Collection[UUID]) -> dict[UUID, PersonKey]:
        """The keys of those who are not erased."""
        missing = [person for person in people if person not in self.seen]
        if missing:
            rows = await self._connection.fetch(_KEYS, missing)
            self.seen |= {row["person"]: self._vault.key(*row) for row in rows}
        return {person: self.seen[person] for person in people if person in self.seen}

    async def key(self, person: UUID) -> PersonKey | None:
        """The key of one person; None where there is none (any more)."""
        return (await self.keys([person])).get(person)

    async def add(self, person: UUID, *, known_by: str | None = None) -> PersonKey | None:
        """The key of a new person; None where they have one, or where somebody else is known by this."""
        key = AESGCM.generate_key(256)
        lookup = None if known_by is None else self.lookup(known_by)
        if await self._connection.fetchval(_ADD, person, self._vault.wrapped(person, key), lookup) is None:
            return None
        self.seen[person] = PersonKey(person, AESGCM(key))
        return self.seen[person]

    async def key_or_new(self, person: UUID) -> PersonKey | None:
        """The key of somebody whom we may not have known; None for who is erased."""
        known = await self.key(person)
        if known is not None:
            return known
        await self._connection.execute(_STAY_AS_IT_IS, _lock_of(person))
        if await self._connection.fetchval(_IS_ERASED, person):
            return None
        return await self.add(person) or await self.key(person)

    async def find(self, lookup: bytes) -> UUID | None:
        """Who is found by this."""
        found: UUID | None = await self._connection.fetchval(_FIND, lookup)
        return found

    async def erase(self, person: UUID) -> None:
        """Destroy the key, for ever."""
        if await erase(self._connection, person):
            log.info("the key of a person was destroyed", person=str(person))
        self.seen.pop(person, None)


async def erase(connection: asyncpg.Connection, person: UUID) -> bool:
    """Destroy a person's key in the schema of this connection, and note that; nobody makes them another one. Whether
    there was any."""
    await connection.execute(_ABOUT_TO_ERASE, _lock_of(person))
    await connection.execute(_ERASE, person)
    return bool(await connection.execute(_DESTROY, person) != "DELETE 0")


def _lock_of(person: UUID) -> int:
    return int.from_bytes(person.bytes[-8:], "big", signed=True)
