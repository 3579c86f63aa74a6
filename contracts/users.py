"""What is said to and by the users service."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import StringConstraints

from contracts.base import Address, Email, Event, Message, Moment, Name, Operation, Query, refusal

email_taken = refusal("email-taken", 409, "This email address has an account already.")
bad_credentials = refusal("bad-credentials", 401, "The email address or the password is wrong.")
bad_refresh_token = refusal("bad-refresh-token", 401, "This refresh token is not valid (any more).")

Password = Annotated[str, StringConstraints(min_length=8, max_length=200)]


class User(Message):
    """A person with an account."""

    id: UUID
    email: str
    name: str
    roles: tuple[str, ...]
    address: Address | None = None
    created_at: Moment


class Tokens(Message):
    """The answer to a log-in (RFC 6749, 5.1). `expires_in` is in seconds and speaks of the access token."""

    access_token: str
    refresh_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int


class Jwk(Message):
    """A public key (RFC 7517; the names are those of RFC 7518, 6.2.1)."""

    kid: str
    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: str
    y: str
    use: Literal["sig"]
    alg: Literal["ES256"]


class Jwks(Message):
    """The public keys that verify access tokens (RFC 7517)."""

    keys: tuple[Jwk, ...]


class RegisterUser(Operation[User]):
    """Open an account."""

    topic: ClassVar[str] = "users.register-user.v1"
    refusals = (email_taken,)
    email: Email
    password: Password
    name: Name


class LogIn(Operation[Tokens]):
    """Exchange credentials for tokens."""

    topic: ClassVar[str] = "users.log-in.v1"
    refusals = (bad_credentials,)
    answer_is_kept = False
    email: Annotated[str, StringConstraints(max_length=254)]
    password: Annotated[str, StringConstraints(max_length=200)]


class RefreshSession(Operation[Tokens]):
    """Exchange a refresh token for new tokens; the old one is spent."""

    topic: ClassVar[str] = "users.refresh-session.v1"
    refusals = (bad_refresh_token,)
    answer_is_kept = False
    refresh_token: Annotated[str, StringConstraints(max_length=500)]


class LogOut(Operation[None]):
    """End the caller's current session."""

    topic: ClassVar[str] = "users.log-out.v1"


class GetMe(Query[User]):
    """The caller's own profile."""

    topic: ClassVar[str] = "users.get-me.v1"


class ChangeMe(Operation[User]):
    """Change the caller's own profile; what is left out stays, `address: null` removes it."""

    topic: ClassVar[str] = "users.change-me.v1"
    name: Name | None = None
    address: Address | None = None


class GetKeys(Query[Jwks]):
    """The keys that verify access tokens."""

    topic: ClassVar[str] = "users.get-keys.v1"


class UserCreated(Event):
    """A person opened an account."""

    topic: ClassVar[str] = "users.user-created.v1"
    subject: ClassVar[str] = "user_id"
    user_id: UUID
    created_at: Moment
