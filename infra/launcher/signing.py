"""The keys that sign access tokens, in one file that the users service reads again every few seconds.

Promise: no token fails because keys change. A new key is published before it signs; the one before it is published, but
signs no more, until the last token that it signed has ended, and is then forgotten. The first key of the file signs;
before a key that signs no more stands since when (RFC 7468 allows for such lines).
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contracts.tokens import LIFETIME_SECONDS
from infra.launcher.failure import Failure
from infra.launcher.lock import running_launcher
from infra.launcher.progress import Progress
from infra.launcher.state import State

PUBLISHED_BEFORE_SECONDS = 10.0
"""Twice as long as it takes every instance to read the file again."""
HONOURED_FOR = timedelta(seconds=LIFETIME_SECONDS + 60)
_FILE = "signing-key.pem"
_LOOK_EVERY = 30.0
_KEY = re.compile(r"(?:^retired (?P<retired>\S+)\n)?(?P<pem>^-----BEGIN [^-]+-----.*?-----END [^-]+-----)", re.S | re.M)


@dataclass(frozen=True)
class _Key:
    pem: str
    retired: datetime | None = None

    def __str__(self) -> str:
        return f"retired {self.retired.isoformat()}\n{self.pem}\n" if self.retired else f"{self.pem}\n"


def signing_key(state: State) -> Path:
    """The file of the P-256 private keys (PEM, mode 0600); made once."""
    with state.locked():
        if not (state.folder / _FILE).exists():
            _write(state, [_new_key()])
    return state.folder / _FILE


def new_private_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 private key."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    """The key in PEM form, protected by no password."""
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


def rotate_key(state: State, progress: Progress, *, leaked: bool = False) -> int:
    """A new key signs. Raises `Failure` where the file makes no sense."""
    signing_key(state)
    if leaked:
        replace_keys(state)
        progress.say("A new key signs access tokens; edges stop to believe the others within five minutes.")
        return 0
    is_running = running_launcher(state) is not None
    with progress.step("Publishing a new key before it signs", "A new key signs access tokens"):
        rotate(state, lambda: time.sleep(PUBLISHED_BEFORE_SECONDS if is_running else 0))
    minutes = HONOURED_FOR // timedelta(minutes=1)
    progress.say(f"Tokens of the old one are honoured until they end, and it is forgotten after {minutes} minutes.")
    return 0


def replace_keys(state: State) -> None:
    """Have a new key sign at once, and honour no other: the others are in wrong hands."""
    with state.locked():
        _write(state, [_new_key()])


def rotate(state: State, wait_until_published: Callable[[], object]) -> None:
    """Add a key, and have it sign once it is published everywhere."""
    new = _new_key()
    with state.locked():
        _write(state, [*_read(state), new])
    wait_until_published()
    with state.locked():
        now = datetime.now(UTC)
        others = [key for key in _read(state) if key.pem != new.pem]
        _write(state, [new, *(replace(key, retired=key.retired or now) for key in others)])


def forget_retired_keys(state: State, *, now: datetime | None = None) -> None:
    """Those whose last token has ended."""
    with state.locked():
        keys, ended = _read(state), (now or datetime.now(UTC)) - HONOURED_FOR
        kept = [key for key in keys if key.retired is None or key.retired > ended]
        if kept != keys:
            _write(state, kept)


async def keep_forgetting(state: State) -> None:
    """Forget them when their time has come, until cancelled."""
    while True:
        with contextlib.suppress(OSError, Failure):  # a full disk, a spoilt file: who rotates is told
            await asyncio.to_thread(forget_retired_keys, state)
        await asyncio.sleep(_LOOK_EVERY)


def _read(state: State) -> list[_Key]:
    place = state.folder / _FILE
    try:
        found = [_key(*match.group("pem", "retired")) for match in _KEY.finditer(place.read_text())]
    except ValueError:
        found = []
    if not found:
        raise Failure(f"{place} holds no private keys in PEM form.")
    return found


def _new_key() -> _Key:
    return _Key(pem_of(new_private_key()).strip())


def _key(pem: str, retired: str | None) -> _Key:
    return _Key(pem, datetime.fromisoformat(retired) if retired else None)


def _write(state: State, keys: Iterable[_Key]) -> None:
    state.write_text(_FILE, "".join(map(str, keys)))
