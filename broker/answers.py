"""Writes that are asked twice have one effect and one answer.

Promise: the answer is kept in the transaction of its effect, under a hash of the caller and the key (the idempotency
key, or else the request's id, which is the same when a dead worker's request is handed to another). The request itself
is not kept, only an HMAC of it under a key that is not kept either. Refusals had no effect and are not kept.
"""

import hashlib
import hmac
from dataclasses import dataclass

import asyncpg

from broker.lane import Request
from contracts.base import Refusal, key_in_progress, key_reused

_WAIT = "SELECT pg_advisory_xact_lock($1)"
_TRY = "SELECT pg_try_advisory_xact_lock($1)"
_GIVEN = "SELECT fingerprint, body FROM answers WHERE key = $1"
_KEEP = "INSERT INTO answers (key, fingerprint, body) VALUES ($1, $2, $3)"
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


async def given_before(connection: asyncpg.Connection, identity: Identity) -> bytes | Refusal | None:
    """The kept answer, a refusal if the key belongs to another request, or None."""
    row = await connection.fetchrow(_GIVEN, identity.key)
    if row is None:
        return None
    return bytes(row["body"]) if hmac.compare_digest(row["fingerprint"], identity.fingerprint) else key_reused()


async def claim(connection: asyncpg.Connection, identity: Identity) -> bytes | Refusal | None:
    """Begin to answer: None if this transaction is the one to do it, else what was answered, or a refusal while another
    transaction is at it (one that only shares the request's id waits for it instead)."""
    lock = int.from_bytes(identity.key[:8], "big", signed=True)
    if identity.may_wait:
        await connection.execute(_WAIT, lock)
    elif not await connection.fetchval(_TRY, lock):
        return key_in_progress()
    return await given_before(connection, identity)


async def keep(connection: asyncpg.Connection, identity: Identity, body: bytes) -> None:
    """Keep the answer."""
    await connection.execute(_KEEP, identity.key, identity.fingerprint, body)


async def prune(connection: asyncpg.Connection) -> None:
    """Forget the answers that are older than clients may count on."""
    await connection.execute(_PRUNE)
