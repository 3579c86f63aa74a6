"""How mails leave the house."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path

import pytest

from workers.users.post import DeliveryError, Folder, Smtp, written


def mail(recipient: str = "ada@example.org") -> EmailMessage:
    return written(sender="The Shop <shop@example.org>", recipient=recipient, subject="Grüße", text="Hello Ada,\n")


class MailServer:
    """A mail server that speaks just enough (RFC 5321), without TLS."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.said: list[str] = []
        self.mails: list[bytes] = []

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1") -> AsyncIterator[int]:
        """Its port."""
        server = await asyncio.start_server(self._serve, host)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            self.said.append(line)
            word = line.split()[0].upper()
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
            refused = self.refuses and word == "RCPT"
            writer.write(b"550 unknown\r\n" if refused else b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")
        writer.close()


async def test_a_mail_server_gets_the_mail_for_its_one_recipient() -> None:
    server = MailServer()
    async with server.listening() as port:
        await Smtp.of(f"smtp://127.0.0.1:{port}").send(mail())
    (received,) = map(message_from_bytes, server.mails)
    assert (received["To"], received["Auto-Submitted"]) == ("ada@example.org", "auto-generated")
    assert [line for line in server.said if line.startswith("rcpt")] == ["rcpt TO:<ada@example.org>"]


async def test_a_mail_that_the_server_refuses_was_not_sent() -> None:
    async with MailServer(refuses=True).listening() as port:
        with pytest.raises(DeliveryError, match="550"):
            await Smtp.of(f"smtp://127.0.0.1:{port}").send(mail())


async def test_a_server_that_is_not_there_is_no_defect() -> None:
    async with MailServer().listening() as port:
        pass
    with pytest.raises(DeliveryError):
        await Smtp.of(f"smtp://127.0.0.1:{port}").send(mail())


async def test_nothing_is_said_in_the_clear_to_another_machine() -> None:
    server = MailServer()
    async with server.listening("127.0.0.2") as port:
        with pytest.raises(DeliveryError, match="STARTTLS"):
            await Smtp.of(f"smtp://shop:secret@127.0.0.2:{port}").send(mail())
    assert server.mails == []
    assert {line.split()[0].upper() for line in server.said} <= {"EHLO", "HELO", "QUIT"}


def test_an_address_of_a_server_says_how_and_as_whom() -> None:
    assert Smtp.of("smtps://shop%40x:a%2Fb@mail.example.org") == Smtp("mail.example.org", 465, True, "shop@x", "a/b")
    assert Smtp.of("smtp://mail.example.org") == Smtp("mail.example.org", 587, False)


@pytest.mark.parametrize("url", ["mail.example.org", "http://mail.example.org", "smtp://", "smtp://x:port"])
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Smtp.of(url)


async def test_in_the_folder_only_the_owner_reads_it(tmp_path: Path) -> None:
    await Folder(tmp_path / "mail").send(mail())
    (file,) = (tmp_path / "mail").iterdir()
    assert file.suffix == ".eml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert message_from_bytes(file.read_bytes())["To"] == "ada@example.org"


async def test_a_folder_that_can_not_be_written_to_is_no_defect(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file")
    with pytest.raises(DeliveryError):
        await Folder(tmp_path / "mail").send(mail())


@pytest.mark.parametrize(
    "recipient", ["ada,eve@example.org", "ada@example.org\r\nBcc: eve@example.org", "Ada <ada@example.org>", "ada"]
)
def test_a_mail_has_one_recipient(recipient: str) -> None:
    with pytest.raises(DeliveryError):
        mail(recipient)


async def test_a_folder_forgets_the_mails_to_one_address(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "mail")
    await folder.forget("ada@example.org")
    for recipient in ("ada@example.org", "ada@example.org", "bob@example.org"):
        await folder.send(mail(recipient))
    await folder.forget("ada@example.org")
    (left,) = (tmp_path / "mail").iterdir()
    assert message_from_bytes(left.read_bytes())["To"] == "bob@example.org"
