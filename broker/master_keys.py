"""The platform's master keys, which wrap the keys of people (broker/vault.py) and nothing else.

Promise: a key is 32 random bytes in base64, one a line: the first one wraps, every one unwraps, so that a new one can
be put before the others while everything runs. What a key wrapped names it, so that a wrong one is told from a spoilt
row. No message shows a key.
"""

import binascii
import os
from base64 import b64decode, b64encode
from collections.abc import MutableMapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SETTING = "HEDGEROW_MASTER_KEY"
BYTES, NAME_BYTES, NONCE_BYTES = 32, 8, 12


class MasterKeyError(Exception):
    """There is no master key, or none that fits; the message is one sentence for the operator."""


class MasterKeys:
    """AES-256-GCM under the first key; `file` is where they are read again."""

    def __init__(self, text: str, *, file: Path | None = None) -> None:
        """Raises MasterKeyError."""
        self._text: str | None = None
        self._file = file
        self._take(text)

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> "MasterKeys":
        """Those of HEDGEROW_MASTER_KEY, which no child process gets then, or of the file that HEDGEROW_MASTER_KEY_FILE
        names. Raises MasterKeyError."""
        text, path = environment.pop(SETTING, ""), environment.get(f"{SETTING}_FILE", "")
        if text and path:
            raise MasterKeyError(f"{SETTING} and {SETTING}_FILE are both set: keep one of them.")
        if not text and not path:
            raise MasterKeyError(f"{SETTING}_FILE is not set: it names the file of the key to personal data.")
        return cls(text) if text else cls(_content(Path(path)), file=Path(path))

    @property
    def names(self) -> list[bytes]:
        """What tells them apart; the first one wraps."""
        return list(self._ciphers)

    def reread(self) -> None:
        """Take the keys that the file holds by now. Raises MasterKeyError, and keeps those it has."""
        if self._file is not None:
            self._take(_content(self._file))

    def wrap(self, key: bytes, about: bytes) -> bytes:
        """The key, for whoever has the master key and says the same `about` it."""
        name, nonce = self.names[0], os.urandom(NONCE_BYTES)
        return name + nonce + self._ciphers[name].encrypt(nonce, key, about)

    def unwrap(self, wrapped: bytes, about: bytes) -> bytes:
        """The key. Raises MasterKeyError where another master key wrapped it, or where it was changed since."""
        cipher = self._ciphers.get(wrapped[:NAME_BYTES])
        if cipher is None:
            raise MasterKeyError("The key of a person is wrapped by a master key that is not here.")
        nonce, sealed = wrapped[NAME_BYTES : NAME_BYTES + NONCE_BYTES], wrapped[NAME_BYTES + NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, sealed, about)
        except InvalidTag:
            raise MasterKeyError("The key of a person was changed, or belongs to somebody else.") from None

    def _take(self, text: str) -> None:
        if text == self._text:
            return
        ciphers = dict(map(_named, text.split()))
        if not ciphers:
            where = SETTING if self._file is None else self._file
            raise MasterKeyError(f"{where} holds no master key: `openssl rand -base64 {BYTES}` makes one.")
        self._ciphers, self._text = ciphers, text


def new_master_key() -> str:
    """A key, as it stands in the file."""
    return b64encode(os.urandom(BYTES)).decode()


def name_of(key: str) -> bytes:
    """What stands before whatever this key wrapped. Raises MasterKeyError."""
    return _named(key)[0]


def derived(key: bytes, purpose: str) -> bytes:
    """A key for one purpose, which tells nothing about the others (HKDF, RFC 5869)."""
    return HKDF(SHA256(), length=BYTES, salt=None, info=f"hedgerow {purpose}".encode()).derive(key)


def _named(text: str) -> tuple[bytes, AESGCM]:
    try:
        key = b64decode(text, validate=True)
    except binascii.Error:
        raise MasterKeyError(f"A master key is {BYTES} bytes in base64, and this is no base64.") from None
    if len(key) != BYTES:
        raise MasterKeyError(f"A master key is {BYTES} bytes in base64, and this one has {len(key)}.")
    return derived(key, "master key's name")[:NAME_BYTES], AESGCM(derived(key, "wrapping of people's keys"))


def _content(place: Path) -> str:
    try:
        return place.read_text()
    except OSError as error:
        raise MasterKeyError(f"{SETTING}_FILE names {place}, which can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise MasterKeyError(f"{SETTING}_FILE names {place}, which is not text.") from None
