"""Who asks.

Promise: a caller is who a valid access token says (RFC 9068's profile with RFC 8725's advice: one algorithm, one type,
one issuer, one audience) that was not revoked, or nobody where there is no Authorization header. A bad token is never
treated like none.
"""

import json
from base64 import urlsafe_b64decode
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from broker.lane import NOBODY
from contracts.base import Caller
from contracts.presence import Route
from contracts.tokens import (
    ALGORITHM,
    AUDIENCE,
    ISSUER,
    LIFETIME_SECONDS,
    ROLES_CLAIM,
    SESSION_CLAIM,
    TICKET_AUDIENCE,
    TICKET_SECONDS,
    TICKET_TYPE,
    TYPE,
)
from edge_api.keys import KeyRing, KeysUnavailableError
from edge_api.problems import RefusedError, keys_unavailable, revocations_unavailable, token_refused
from edge_api.remembered import Remembered
from edge_api.revocations import RevocationList

LEEWAY_SECONDS = 5
MAX_TOKEN = 4096


class Kind:
    """A kind of token: its type and audience, and for how many seconds it may be good. One is never taken for
    another (RFC 8725, 3.12)."""

    def __init__(self, kind: str, audience: str, seconds: int) -> None:
        self.type = kind
        self.seconds = seconds
        self.claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            jti={"essential": True},
        )


ACCESS = Kind(TYPE, AUDIENCE, LIFETIME_SECONDS)
TICKET = Kind(TICKET_TYPE, TICKET_AUDIENCE, TICKET_SECONDS)
_MALFORMED = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


class Authenticator:
    """Verifies tokens, and remembers the last few thousand it verified until they expire, are revoked or the keys
    change."""

    def __init__(self, keys: KeyRing, revocations: RevocationList) -> None:
        self.remembered = Remembered()
        self._keys = keys
        self._generation = keys.generation
        self._revocations = revocations
        revocations.on_revoked.append(self.remembered.forget)

    async def caller(self, authorization: bytes | None, ticket: bytes | None = None) -> Caller:
        """Who sends this Authorization header, or else this ticket. Raises RefusedError."""
        if authorization is None:
            return NOBODY if ticket is None else (await self._verified(ticket, TICKET))[0]
        return self._recall(authorization) or await self._bearer(authorization)

    def _recall(self, authorization: bytes) -> Caller | None:
        self._forget_what_other_keys_signed()
        return self.remembered.caller(authorization)

    async def _bearer(self, authorization: bytes) -> Caller:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise token_refused()
        caller, expires = await self._verified(token.strip(), ACCESS)
        self._forget_what_other_keys_signed()
        self.remembered.keep(authorization, caller, expires=expires + LEEWAY_SECONDS)
        return caller

    async def _verified(self, token: bytes, kind: "Kind") -> tuple[Caller, float]:
        """Who it speaks of, and until when."""
        if len(token) > MAX_TOKEN:
            raise token_refused()
        try:
            key = await self._keys.key(key_id(token, kind))
            if key is None:
                raise token_refused()
            claims = verified_claims(token, key, kind)
            caller = caller_in(claims)
            if not self._revocations.are_known:
                raise RefusedError(revocations_unavailable())
            if self._revocations.cover(claims):
                raise token_refused()
        except _MALFORMED:
            raise token_refused() from None
        except KeysUnavailableError as error:
            raise RefusedError(keys_unavailable()) from error
        return caller, claims["exp"]

    def _forget_what_other_keys_signed(self) -> None:
        if self._generation != self._keys.generation:
            self.remembered.clear()
            self._generation = self._keys.generation


def admit(route: Route, caller: Caller) -> None:
    """Let the caller pass if the route is for them. Raises RefusedError."""
    refusal = route.refusal_to(caller)
    if refusal is not None:
        raise RefusedError(refusal)


def key_id(token: bytes, kind: Kind = ACCESS) -> str:
    """The id of the key that a token claims to be signed with, not verified yet. Raises ValueError and its like."""
    encoded = token.split(b".", 1)[0]
    header = json.loads(urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4)))
    if header["alg"] != ALGORITHM or _media_type(header["typ"]) != kind.type or not isinstance(header["kid"], str):
        raise ValueError("not a token of ours")
    return str(header["kid"])


def verified_claims(token: bytes, key: ECKey, kind: Kind = ACCESS) -> dict[str, Any]:
    """The claims of a token that this key signed and that is valid now. Raises JoseError, and ValueError for one that
    would outlive its revocation."""
    claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
    kind.claims.validate(claims)
    if claims["exp"] - claims["iat"] > kind.seconds:
        raise ValueError("a token that lives too long")
    return claims


def caller_in(claims: dict[str, Any]) -> Caller:
    """Who the claims speak of. Raises ValueError and its like."""
    roles = claims[ROLES_CLAIM]
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise ValueError("roles must be a list of words")
    return Caller(id=UUID(claims["sub"]), session=UUID(claims[SESSION_CLAIM]), roles=frozenset(roles))


def _media_type(typ: str) -> str:
    return typ.lower().removeprefix("application/")
