"""Writes that are asked twice have one effect and one answer.

Promise: the answer is kept in the transaction of its effect, under a hash of the caller and the key (the idempotency
key, or else the request's id, which is the same when a dead worker's request is handed to another). The request itself
is not kept, only an HMAC of it under a key that is not kept either. Refusals had no effect and are not kept.
"""

import hashlib
import hmac
from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from broker.lane import Request
from broker.tables import AnswerRow
from contracts.base import Refusal, key_in_progress, key_reused

_KEPT_FOR = "24 hours"


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


async def given_before(session: AsyncSession, identity: Identity) -> bytes | Refusal | None:
    """The kept answer, a refusal if the key belongs to another request, or None."""
    statement = select(AnswerRow.fingerprint, AnswerRow.body).where(AnswerRow.key == identity.key)  # type: ignore[call-overload]
    row = (await session.execute(statement)).first()
    if row is None:
        return None
    return bytes(row.body) if hmac.compare_digest(row.fingerprint, identity.fingerprint) else key_reused()


async def claim(session: AsyncSession, identity: Identity) -> bytes | Refusal | None:
    """Begin to answer: None if this transaction is the one to do it, else what was answered, or a refusal while another
    transaction is at it (one that only shares the request's id waits for it instead)."""
    lock = int.from_bytes(identity.key[:8], "big", signed=True)
    if identity.may_wait:
        await session.execute(select(func.pg_advisory_xact_lock(lock)))
    elif not (await session.execute(select(func.pg_try_advisory_xact_lock(lock)))).scalar_one():
        return key_in_progress()
    return await given_before(session, identity)


async def keep(session: AsyncSession, identity: Identity, body: bytes) -> None:
    """Keep the answer."""
    await session.execute(insert(AnswerRow).values(key=identity.key, fingerprint=identity.fingerprint, body=body))


async def prune(session: AsyncSession) -> None:
    """Forget the answers that are older than clients may count on."""
    await session.execute(text(f"DELETE FROM answers WHERE given_at < now() - interval '{_KEPT_FOR}'"))  # noqa: S608
