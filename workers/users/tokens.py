"""Tokens: access tokens that anybody can verify, and refresh tokens that nobody can guess.

An access token is a JWT signed with ES256 (RFC 9068). A refresh token is 256 bits: random at the log-in, later derived
from its predecessor with a secret that only this service has. So the same successor can be given twice although only
fingerprints are kept, and neither a stolen database nor a spent token leads to a live one.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from contracts.tokens import ALGORITHM, AUDIENCE, ISSUER, ROLES_CLAIM, SESSION_CLAIM, TYPE
from contracts.users import Jwk, Jwks, Tokens

ACCESS_LIFETIME = timedelta(seconds=600)


class Signer:
    """Speaks for the platform with one P-256 key; every instance must have the same one."""

    def __init__(self, pem: bytes) -> None:
        """Raises ValueError where the PEM does not hold a P-256 private key."""
        self._key = _private_key(pem)
        self._kid = self._key.thumbprint()
        secret = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"hedgerow refresh tokens")
        self._refresh_secret = secret.derive(self._key.as_der(private=True))

    def keys(self) -> Jwks:
        """The public half, named by its RFC 7638 thumbprint."""
        public = self._key.as_dict(private=False, kid=self._kid, use="sig", alg=ALGORITHM)
        return Jwks(keys=(Jwk.model_validate(public),))

    def access_token(self, user_id: UUID, roles: list[str], *, session: UUID, now: datetime) -> str:
        """A signed statement of who somebody is, good for `ACCESS_LIFETIME`."""
        issued = int(now.timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "iat": issued,
            "exp": issued + int(ACCESS_LIFETIME.total_seconds()),
            "jti": str(uuid4()),
            SESSION_CLAIM: str(session),
            ROLES_CLAIM: roles,
        }
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": self._kid}
        return jwt.encode(header, claims, self._key, algorithms=[ALGORITHM])

    def tokens(self, user_id: UUID, roles: list[str], *, session: UUID, refresh_token: str, now: datetime) -> Tokens:
        """The answer to a log-in or a refresh."""
        return Tokens(
            access_token=self.access_token(user_id, roles, session=session, now=now),
            refresh_token=refresh_token,
            expires_in=int(ACCESS_LIFETIME.total_seconds()),
        )

    def successor(self, refresh_token: str) -> str:
        """The one token that follows this one."""
        return _text(hmac.digest(self._refresh_secret, refresh_token.encode(), "sha256"))


def fresh_refresh_token() -> str:
    """The first of a family."""
    return _text(secrets.token_bytes(32))


def fingerprint(refresh_token: str) -> bytes:
    """What is kept of a refresh token. Unsalted and fast is right: there is nothing to guess in 256 random bits."""
    return hashlib.sha256(refresh_token.encode()).digest()


def _text(token: bytes) -> str:
    return urlsafe_b64encode(token).rstrip(b"=").decode()


def _private_key(pem: bytes) -> ECKey:
    try:
        key = ECKey.import_key(pem)
    except JoseError as error:
        raise ValueError(str(error)) from error
    if not key.is_private or key.curve_name != "P-256":
        raise ValueError("not a P-256 private key")
    return key
