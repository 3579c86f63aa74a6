"""Who asks.

Promise: a caller is who a valid access token says (RFC 9068's profile with RFC 8725's advice: one algorithm, one type,
one issuer, one audience), or nobody where there is no Authorization header. A bad token is never treated like none.
"""

import json
import time
from base64 import urlsafe_b64decode
from collections import OrderedDict
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from broker.lane import NOBODY
from contracts.base import Caller, forbidden
from contracts.presence import Who
from contracts.tokens import ALGORITHM, AUDIENCE, ISSUER, ROLES_CLAIM, SESSION_CLAIM, TYPE
from edge_api.keys import KeyRing, KeysUnavailableError
from edge_api.problems import RefusedError, bearer_wanted, keys_unavailable, token_refused

LEEWAY_SECONDS = 5
MAX_TOKEN = 4096
REMEMBERED = 10_000

_CLAIMS = jwt.JWTClaimsRegistry(
    leeway=LEEWAY_SECONDS,
    iss={"essential": True, "value": ISSUER},
    aud={"essential": True, "value": AUDIENCE},
    exp={"essential": True},
    iat={"essential": True},
    sub={"essential": True},
    jti={"essential": True},
)
_MALFORMED = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


class Authenticator:
    """Verifies tokens, and remembers the last few thousand it verified until they expire or the keys change."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._generation = keys.generation
        self._remembered: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    async def caller(self, authorization: bytes | None) -> Caller:
        """Who sends this Authorization header. Raises RefusedError."""
        if authorization is None:
            return NOBODY
        return self._recall(authorization) or await self._verified(authorization)

    def _recall(self, authorization: bytes) -> Caller | None:
        self._forget_what_other_keys_signed()
        expires, caller = self._remembered.get(authorization, (0.0, NOBODY))
        if expires < time.time():
            self._remembered.pop(authorization, None)
            return None
        self._remembered.move_to_end(authorization)
        return caller

    async def _verified(self, authorization: bytes) -> Caller:
        scheme, _, token = authorization.partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or len(token) > MAX_TOKEN:
            raise token_refused()
        try:
            key = await self._keys.key(key_id(token))
            if key is None:
                raise token_refused()
            claims = verified_claims(token, key)
            caller = caller_in(claims)
        except _MALFORMED:
            raise token_refused() from None
        except KeysUnavailableError as error:
            raise RefusedError(keys_unavailable()) from error
        self._remember(authorization, claims["exp"] + LEEWAY_SECONDS, caller)
        return caller

    def _remember(self, authorization: bytes, expires: float, caller: Caller) -> None:
        self._forget_what_other_keys_signed()
        self._remembered[authorization] = (expires, caller)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)

    def _forget_what_other_keys_signed(self) -> None:
        if self._generation != self._keys.generation:
            self._remembered.clear()
            self._generation = self._keys.generation


def admit(who: Who, caller: Caller) -> None:
    """Let the caller pass if the route is for them. Raises RefusedError."""
    if who == "anyone":
        return
    if caller.id is None:
        raise bearer_wanted()
    if who == "staff" and not caller.is_staff:
        raise RefusedError(forbidden())


def key_id(token: bytes) -> str:
    """The id of the key that a token claims to be signed with, not verified yet. Raises ValueError and its like."""
    encoded = token.split(b".", 1)[0]
    header = json.loads(urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4)))
    if header["alg"] != ALGORITHM or _media_type(header["typ"]) != TYPE or not isinstance(header["kid"], str):
        raise ValueError("not a token of ours")
    return str(header["kid"])


def verified_claims(token: bytes, key: ECKey) -> dict[str, Any]:
    """The claims of a token that this key signed and that is valid now. Raises JoseError."""
    claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
    _CLAIMS.validate(claims)
    return claims


def caller_in(claims: dict[str, Any]) -> Caller:
    """Who the claims speak of. Raises ValueError and its like."""
    roles = claims[ROLES_CLAIM]
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise ValueError("roles must be a list of words")
    return Caller(id=UUID(claims["sub"]), session=UUID(claims[SESSION_CLAIM]), roles=frozenset(roles))


def _media_type(typ: str) -> str:
    return typ.lower().removeprefix("application/")
