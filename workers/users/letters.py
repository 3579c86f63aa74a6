"""What the mails say, and how long the tokens in them are good."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Kind = Literal["verification", "password-reset", "password-changed"]


@dataclass(frozen=True)
class Letter:
    """A mail's words; one with a `lifetime` carries a token that is good for so long."""

    subject: str
    body: str
    lifetime: timedelta | None = None

    def text(self, *, name: str, token: str | None) -> str:
        """The body for this person, with this token."""
        return f"Hello {name},\n\n{self.body}\n" + (f"\n    {token}\n" if token else "")


LETTERS: dict[Kind, Letter] = {
    "verification": Letter(
        "Please confirm your email address",
        "an account was opened with this email address. If that was you, confirm it within three days with this token:",
        timedelta(days=3),
    ),
    "password-reset": Letter(
        "Choose a new password",
        "somebody, hopefully you, wants to choose a new password for your account. If it was not you, do nothing:\n"
        "your password stays as it is. This token is good for one hour and for one new password:",
        timedelta(hours=1),
    ),
    "password-changed": Letter(
        "Your password was changed",
        "your password was changed, and all your sessions have ended. If it was not you, ask for a new password now.",
    ),
}
