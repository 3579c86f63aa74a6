"""The certificate of HTTPS.

Promise: files that were replaced are served within some seconds, and what is being answered then is answered; files
that make no sense are said to, and the ones before stay in use.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from broker.telemetry import log

LOOK_EVERY = 2.0


class CertificateError(Exception):
    """The files are no certificate with its key."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files: the certificate with its chain, and its private key, which no password protects."""

    chain: Path
    key: Path

    def check(self) -> None:
        """Raises CertificateError."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.chain, self.key, password="")
        except (OSError, ValueError) as error:
            raise CertificateError(str(error)) from None

    async def watch(self, renew: Callable[[], None]) -> None:
        """Call `renew` whenever the files were replaced by others that fit together, until cancelled."""
        seen = self._stamp()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = self._stamp()
            if now == seen:
                continue
            try:
                self.check()
            except CertificateError as error:
                log.error("the new certificate can't be used, the old one stays", error=str(error))
            else:
                log.info("the certificate is renewed", file=str(self.chain))
                renew()
            seen = now

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_stamp_of, (self.chain, self.key)))


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
