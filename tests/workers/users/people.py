"""People with accounts, and what they do with their tokens."""

import re
from datetime import timedelta
from email.message import EmailMessage
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import update
from sqlmodel import col

from contracts.base import Caller, Operation, Refusal
from contracts.users import GetKeys, Jwks, LogIn, RefreshSession, RegisterUser, Tokens, User
from tests.support.eventually import eventually
from tests.support.harness import Harness
from workers.users.post import DeliveryError
from workers.users.tables import RefreshTokenRow
from workers.users.tokens import fingerprint

ADA = RegisterUser(email="Ada@Example.org", password="correct horse", name="Ada")
NOBODY = Caller()


class Letterbox:
    """Keeps the mails instead of sending them, or fails."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.is_broken = False

    async def send(self, mail: EmailMessage) -> None:
        """Keep it."""
        if self.is_broken:
            raise DeliveryError("the letterbox is broken")
        self.mails.append(mail)

    async def forget(self, recipient: str) -> None:
        """Keep nothing for this address."""
        self.mails[:] = [mail for mail in self.mails if mail["To"] != recipient]


LETTERBOX = Letterbox()


async def mailed(subject: str, email: str = ADA.email.lower()) -> EmailMessage:
    """The next mail about this to this address."""

    async def found() -> EmailMessage | None:
        return next((mail for mail in LETTERBOX.mails if (mail["Subject"], mail["To"]) == (subject, email)), None)

    mail = await eventually(found)
    assert mail is not None
    LETTERBOX.mails.remove(mail)
    return mail


def token_in(mail: EmailMessage) -> str:
    """The token that a mail carries."""
    (token,) = re.findall(r"^    (\S{43})$", mail.get_content(), re.MULTILINE)
    return str(token)


async def register(users: Harness, ask: RegisterUser = ADA) -> User:
    """A new user."""
    user = await users.ask(ask, caller=NOBODY)
    assert isinstance(user, User)
    return user


async def log_in(users: Harness, ask: RegisterUser = ADA) -> Tokens:
    """The tokens of a new session."""
    tokens = await users.ask(LogIn(email=ask.email, password=ask.password), caller=NOBODY)
    assert isinstance(tokens, Tokens)
    return tokens


async def refresh(users: Harness, tokens: Tokens) -> Tokens:
    """The tokens that follow."""
    answer = await users.ask(RefreshSession(refresh_token=tokens.refresh_token), caller=NOBODY)
    assert isinstance(answer, Tokens)
    return answer


async def refused(users: Harness, ask: Operation[Any], caller: Caller = NOBODY) -> str:
    """The slug of the refusal that it must be."""
    refusal = await users.ask(ask, caller=caller)
    assert isinstance(refusal, Refusal)
    return refusal.slug


async def refused_to_refresh(users: Harness, tokens: Tokens) -> bool:
    """Whether the refresh token is spent, expired or void."""
    return await refused(users, RefreshSession(refresh_token=tokens.refresh_token)) == "bad-refresh-token"


async def claims(users: Harness, tokens: Tokens) -> dict[str, Any]:
    """What the access token says, to those who verify it."""
    jwks = await users.ask(GetKeys(), caller=NOBODY)
    assert isinstance(jwks, Jwks)
    keys = KeySet.import_key_set({"keys": [dict(key) for key in jwks.keys]})
    return jwt.decode(tokens.access_token, keys, algorithms=["ES256"]).claims


async def identified(users: Harness, tokens: Tokens) -> Caller:
    """Who the edge takes the bearer for."""
    said = await claims(users, tokens)
    return Caller(id=UUID(said["sub"]), session=UUID(said["sid"]), roles=frozenset(said["roles"]))


async def age(users: Harness, tokens: Tokens, by: timedelta) -> None:
    """Let so much time have passed for a refresh token."""
    this = col(RefreshTokenRow.sha256) == fingerprint(tokens.refresh_token)
    older = {"expires_at": RefreshTokenRow.expires_at - by, "spent_at": col(RefreshTokenRow.spent_at) - by}
    await users.write(update(RefreshTokenRow).where(this).values(older))
