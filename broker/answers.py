"""Writes that are asked twice have one effect and one answer.

Promise: the answer is kept in the transaction of its effect, under a hash of the caller and the key (the idempotency
key, or else the request's id, which is the same when a dead worker's request is handed to another). The request itself
is not kept, only an HMAC of it under a key that is not kept either. An answer is sealed under the keys of all whose
data its transaction may have seen, and gone with any of them. Refusals had no effect and are not kept.
"""

import hashlib
import hmac
from dataclasses import dataclass

import asyncpg

from broker.lane import Request
from broker.transaction import Transaction
from contracts.base import Refusal, answer_erased, key_in_progress, key_reused

_WAIT = "SELECT pg_advisory_xact_lock($1)"
_TRY = "SELECT pg_try_advisory_xact_lock($1)"
_GIVEN = "SELECT fingerprint, body, people FROM answers WHERE key = $1"
_KEEP = "INSERT INTO answers (key, fingerprint, body, people) VALUES ($1, $2, $3, $4)"
_PRUNE = "DELETE FROM answers WHERE given_at < now() - interval '24 hours'"


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two requests one."""

    key: bytes
    fingerprint: bytes
    may_wait: bool

    @classmethod
    def of(cls, request: Request) -> "Identity":
        """By the caller's idempotency key if there is one, else by the request's id."""
        named = request.idempotency_key is not None
        key = f"key {request.idempotency_key}" if named else f"id {request.request_id}"
        secret = f"{request.caller.id} {key}"
        said = b"\0".join([request.topic.encode(), request.body, repr(sorted(request.params.items())).encode()])
        return cls(
            key=hashlib.sha256(secret.encode()).digest(),
            fingerprint=hmac.digest(secret.encode(), said, "sha256"),
            may_wait=not named,
        )


async def given_before(transaction: Transaction, identity: Identity) -> bytes | Refusal | None:
    """The kept answer, a refusal if the key belongs to another request or the answer is erased, or None."""
    row = await transaction.connection.fetchrow(_GIVEN, identity.key)
    if row is None:
        return None
    if not hmac.compare_digest(row["fingerprint"], identity.fingerprint):
        return key_reused()
    body: bytes = row["body"]
    for person in row["people"]:
        key = await transaction.people.key(person)
        if key is None:
            return answer_erased()
        body = key.open(_place(identity), body)
    return body


async def claim(transaction: Transaction, identity: Identity) -> bytes | Refusal | None:
    """Begin to answer: None if this transaction is the one to do it, else what was answered, or a refusal while another
    transaction is at it (one that only shares the request's id waits for it instead)."""
    lock = int.from_bytes(identity.key[:8], "big", signed=True)
    if identity.may_wait:
        await transaction.connection.execute(_WAIT, lock)
    elif not await transaction.connection.fetchval(_TRY, lock):
        return key_in_progress()
    return await given_before(transaction, identity)


async def keep(transaction: Transaction, identity: Identity, body: bytes) -> None:
    """Keep the answer."""
    for key in transaction.seen.values():
        body = key.seal(_place(identity), body)
    people = list(reversed(transaction.seen))
    await transaction.connection.execute(_KEEP, identity.key, identity.fingerprint, body, people)


async def prune(connection: asyncpg.Connection) -> None:
    """Forget the answers that are older than clients may count on."""
    await connection.execute(_PRUNE)


def _place(identity: Identity) -> str:
    return f"answers.body {identity.key.hex()}"
