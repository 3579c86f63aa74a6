"""How mails leave the house: over SMTP, or into a folder where a developer reads them.

Promise: a mail goes to its one recipient, or DeliveryError is raised; over the network only through TLS. The standard
library's SMTP client is enough, in a thread: each instance sends one mail at a time.
"""

import asyncio
import contextlib
import smtplib
import ssl
from dataclasses import dataclass
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime, make_msgid
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

SEND_WITHIN = 10.0
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class DeliveryError(Exception):
    """The mail did not leave."""


class Post(Protocol):
    """Sends mails."""

    async def send(self, mail: EmailMessage) -> None:
        """Send it. Raises DeliveryError."""

    async def forget(self, recipient: str) -> None:
        """Keep nothing of what was sent to this address."""


def written(*, sender: str, recipient: str, subject: str, text: str) -> EmailMessage:
    """A mail of plain text. Raises DeliveryError for what is no address of one person."""
    mail = EmailMessage()
    try:
        mail["From"] = sender
        mail["To"] = Address(addr_spec=recipient)
    except ValueError as error:
        raise DeliveryError("the recipient has no address that mail could be sent to") from error
    mail["Subject"] = subject
    mail["Date"] = localtime()
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].rstrip(">"))
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
    mail.set_content(text)
    return mail


@dataclass(frozen=True)
class Folder:
    """Each mail is a file that only its owner may read."""

    path: Path

    async def send(self, mail: EmailMessage) -> None:
        """Write it. Raises DeliveryError."""
        name = mail["Message-ID"].strip("<>").partition("@")[0]
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished = self.path / f".{name}"
            unfinished.touch(mode=0o600)
            unfinished.write_bytes(bytes(mail))
            unfinished.rename(self.path / f"{name}.eml")
        except OSError as error:
            raise DeliveryError(str(error)) from error

    async def forget(self, recipient: str) -> None:
        """Remove the files."""
        for place in self.path.glob("*.eml"):
            with contextlib.suppress(FileNotFoundError):
                if message_from_bytes(place.read_bytes())["To"] == recipient:
                    place.unlink()


@dataclass(frozen=True)
class Smtp:
    """A mail server. `smtps://` is TLS from the start; `smtp://` demands STARTTLS, except from this machine itself."""

    host: str
    port: int
    is_tls: bool
    login: str | None = None
    password: str | None = None

    @classmethod
    def of(cls, url: str) -> "Smtp":
        """The server at smtp://login:password@host:port or smtps://… Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("not smtp://login:password@host:port or smtps://…")
        is_tls = parts.scheme == "smtps"
        login, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
        return cls(parts.hostname, parts.port or (465 if is_tls else 587), is_tls, login, password)

    async def send(self, mail: EmailMessage) -> None:
        """Hand it to the server. Raises DeliveryError."""
        try:
            await asyncio.to_thread(self._hand_over, mail)
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(repr(error)) from error

    async def forget(self, recipient: str) -> None:
        """Nothing is kept here."""

    def _hand_over(self, mail: EmailMessage) -> None:
        trusted = ssl.create_default_context()
        with (
            smtplib.SMTP_SSL(self.host, self.port, timeout=SEND_WITHIN, context=trusted)
            if self.is_tls
            else smtplib.SMTP(self.host, self.port, timeout=SEND_WITHIN)
        ) as server:
            if not self.is_tls and self.host not in _THIS_MACHINE:
                server.starttls(context=trusted)
            if self.login is not None:
                server.login(self.login, self.password or "")
            server.send_message(mail)
