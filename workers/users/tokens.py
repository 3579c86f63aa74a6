"""Tokens: access tokens that anybody can verify, and refresh tokens that nobody can guess.

An access token is a JWT signed with ES256 (RFC 9068). A refresh token is 256 bits: random at the log-in, later derived
from its predecessor with a secret that only this service has. So the same successor can be given twice although only
fingerprints are kept, and neither a stolen database nor a spent token leads to a live one.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from contracts.tokens import (
    ALGORITHM,
    AUDIENCE,
    GENERATION_CLAIM,
    ISSUER,
    LIFETIME_SECONDS,
    ROLES_CLAIM,
    SESSION_CLAIM,
    TICKET_AUDIENCE,
    TICKET_SECONDS,
    TICKET_TYPE,
    TYPE,
)
from contracts.users import Jwk, Jwks, Ticket, Tokens
from workers.users.tables import UserRow

ACCESS_LIFETIME = timedelta(seconds=LIFETIME_SECONDS)
_PEM_BLOCK = re.compile(rb"-----BEGIN [^-]+-----.*?-----END [^-]+-----", re.DOTALL)


class Signer:
    """Speaks for the platform with P-256 keys, of which the first one signs and all are published; every instance must
    have the same ones."""

    def __init__(self, pem: bytes, *, file: Path | None = None) -> None:
        """Raises ValueError where the PEM does not hold P-256 private keys and nothing else."""
        self._file = file
        self._pem: bytes | None = None
        self._take(pem)

    def reread(self) -> None:
        """Take the keys that the file holds by now. Raises ValueError and OSError, and keeps those it has."""
        if self._file is not None:
            self._take(self._file.read_bytes())

    def keys(self) -> Jwks:
        """The public halves, named by their RFC 7638 thumbprints."""
        return Jwks(keys=tuple(map(_published, self._keys)))

    def access_token(
        self, user_id: UUID, roles: list[str], *, session: UUID, now: datetime, generation: int = 0
    ) -> str:
        """A signed statement of who somebody is, good for `ACCESS_LIFETIME` unless its session or its generation is
        revoked."""
        who = _claims(user_id, roles, session, generation)
        return self._signed(TYPE, AUDIENCE, who, now=now, seconds=LIFETIME_SECONDS)

    def ticket(self, user: UserRow, *, session: UUID, now: datetime) -> Ticket:
        """The same for streams only, and for a shorter time."""
        who = _claims(user.id, user.roles, session, user.token_generation)
        signed = self._signed(TICKET_TYPE, TICKET_AUDIENCE, who, now=now, seconds=TICKET_SECONDS)
        return Ticket(ticket=signed, expires_in=TICKET_SECONDS)

    def tokens(self, user: UserRow, *, session: UUID, refresh_token: str, now: datetime) -> Tokens:
        """The answer to a log-in or a refresh."""
        access_token = self.access_token(
            user.id, user.roles, session=session, now=now, generation=user.token_generation
        )
        return Tokens(
            access_token=access_token,
            refresh_token=refresh_token,
            expires_in=int(ACCESS_LIFETIME.total_seconds()),
        )

    def successors(self, refresh_token: str) -> tuple[str, ...]:
        """The token that follows this one, by each key: a new one spends it for the first, and one that was spent a
        moment ago may have been spent before the keys changed places."""
        return tuple(_text(hmac.digest(secret, refresh_token.encode(), "sha256")) for secret in self._refresh_secrets)

    def _signed(self, kind: str, audience: str, who: dict[str, Any], *, now: datetime, seconds: int) -> str:
        issued = int(now.timestamp())
        claims = {"iss": ISSUER, "aud": audience, "iat": issued, "exp": issued + seconds, "jti": str(uuid4()), **who}
        header = {"alg": ALGORITHM, "typ": kind, "kid": self._keys[0].thumbprint()}
        return jwt.encode(header, claims, self._keys[0], algorithms=[ALGORITHM])

    def _take(self, pem: bytes) -> None:
        if pem != self._pem:
            self._keys = _private_keys(pem)
            self._refresh_secrets = tuple(map(_refresh_secret, self._keys))
            self._pem = pem


def _claims(user_id: UUID, roles: list[str], session: UUID, generation: int) -> dict[str, Any]:
    return {"sub": str(user_id), SESSION_CLAIM: str(session), ROLES_CLAIM: roles, GENERATION_CLAIM: generation}


def fresh_token() -> str:
    """256 random bits: the first refresh token of a family, or a token to be mailed."""
    return _text(secrets.token_bytes(32))


def fingerprint(token: str) -> bytes:
    """What is kept of a token. Unsalted and fast is right: there is nothing to guess in 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


def _text(token: bytes) -> str:
    return urlsafe_b64encode(token).rstrip(b"=").decode()


def _published(key: ECKey) -> Jwk:
    return Jwk.model_validate(key.as_dict(private=False, kid=key.thumbprint(), use="sig", alg=ALGORITHM))


def _refresh_secret(key: ECKey) -> bytes:
    secret = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"hedgerow refresh tokens")
    return secret.derive(key.as_der(private=True))


def _private_keys(pem: bytes) -> tuple[ECKey, ...]:
    blocks = _PEM_BLOCK.findall(pem)
    if not blocks:
        raise ValueError("no key in PEM form")
    return tuple(map(_private_key, blocks))


def _private_key(pem: bytes) -> ECKey:
    try:
        key = ECKey.import_key(pem)
    except JoseError as error:
        raise ValueError(str(error)) from error
    if not key.is_private or key.curve_name != "P-256":
        raise ValueError("not a P-256 private key")
    return key
