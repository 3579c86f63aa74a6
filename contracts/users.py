"""What is said to and by the users service."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from contracts.base import (
    Address,
    Email,
    Event,
    Message,
    Moment,
    Operation,
    Page,
    PageQuery,
    PersonName,
    Query,
    Secret,
    Slug,
    refusal,
)
from contracts.tokens import GET_REVOCATIONS, REVOKED, Revocation, Revocations

email_taken = refusal("email-taken", 409, "This email address has an account already.")
bad_credentials = refusal("bad-credentials", 401, "The email address or the password is wrong.")
account_suspended = refusal("account-suspended", 403, "This account is suspended.")
no_such_user = refusal("no-such-user", 404, "There is no such user.")
not_yourself = refusal("not-yourself", 409, "Somebody else must do this to you.")
bad_refresh_token = refusal("bad-refresh-token", 401, "This refresh token is not valid (any more).")

token_not_valid = refusal("token-not-valid", 422, "This token is not valid (any more).")

Password = Annotated[Secret, StringConstraints(min_length=8, max_length=200)]


class User(Message):
    """A person with an account."""

    id: UUID
    email: Secret
    name: Secret
    roles: tuple[str, ...]
    suspended: bool = False
    email_verified: bool = False
    address: Address | None = None
    created_at: Moment


class Tokens(Message):
    """The answer to a log-in (RFC 6749, 5.1). `expires_in` is in seconds and speaks of the access token."""

    access_token: Secret
    refresh_token: Secret
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
    name: PersonName


class LogIn(Operation[Tokens]):
    """Exchange credentials for tokens."""

    topic: ClassVar[str] = "users.log-in.v1"
    refusals = (bad_credentials, account_suspended)
    answer_is_kept = False
    email: Annotated[Secret, StringConstraints(max_length=254)]
    password: Annotated[Secret, StringConstraints(max_length=200)]


class RefreshSession(Operation[Tokens]):
    """Exchange a refresh token for new tokens; the old one is spent."""

    topic: ClassVar[str] = "users.refresh-session.v1"
    refusals = (bad_refresh_token,)
    answer_is_kept = False
    refresh_token: Annotated[Secret, StringConstraints(max_length=500)]


class Ticket(Message):
    """What opens a stream as `?ticket=`, for as many seconds."""

    ticket: Secret
    expires_in: int


class GetStreamTicket(Operation[Ticket]):
    """Have a ticket for streams, for a client that can't send headers: the caller's rights to read streams."""

    topic: ClassVar[str] = "users.get-stream-ticket.v1"
    answer_is_kept = False


class LogOut(Operation[None]):
    """End the caller's current session."""

    topic: ClassVar[str] = "users.log-out.v1"


class VerifyEmail(Operation[None]):
    """Prove with the token from the mail that the account's address is one's own."""

    topic: ClassVar[str] = "users.verify-email.v1"
    refusals = (token_not_valid,)
    token: Annotated[Secret, StringConstraints(max_length=100)]


class RequestPasswordReset(Operation[None]):
    """Have a mail sent that lets one choose a new password; the answer is the same where nobody has the address."""

    topic: ClassVar[str] = "users.request-password-reset.v1"
    email: Annotated[Secret, StringConstraints(max_length=254)]


class ResetPassword(Operation[None]):
    """Choose a new password with the token from the mail; all sessions of the account end."""

    topic: ClassVar[str] = "users.reset-password.v1"
    refusals = (token_not_valid,)
    token: Annotated[Secret, StringConstraints(max_length=100)]
    password: Password


class GetMe(Query[User]):
    """The caller's own profile."""

    topic: ClassVar[str] = "users.get-me.v1"


class ChangeMe(Operation[User]):
    """Change the caller's own profile; what is left out stays, `address: null` removes it."""

    topic: ClassVar[str] = "users.change-me.v1"
    name: PersonName | None = None
    address: Address | None = None


class EraseMe(Operation[None]):
    """Close the caller's account for ever: its sessions end, and what tells who the caller is is erased everywhere."""

    topic: ClassVar[str] = "users.erase-me.v1"


class GetUser(Query[User]):
    """Somebody's account."""

    topic: ClassVar[str] = "users.get-user.v1"
    refusals = (no_such_user,)
    id: UUID


class ListUsers(PageQuery[Page[User]]):
    """The accounts, the newest first; `email` finds the one with this address."""

    topic: ClassVar[str] = "users.list-users.v1"
    email: Annotated[Secret, StringConstraints(max_length=254)] | None = None


class SuspendUser(Operation[User]):
    """Suspend an account, which ends its sessions everywhere, or lift the suspension."""

    topic: ClassVar[str] = "users.suspend-user.v1"
    refusals = (no_such_user, not_yourself)
    id: UUID
    suspended: bool


def _each_once(roles: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(roles)) < len(roles):
        raise ValueError("a role is there more than once")
    return roles


Roles = Annotated[
    tuple[Slug, ...], Field(max_length=20, json_schema_extra={"uniqueItems": True}), AfterValidator(_each_once)
]


class AssignRoles(Operation[User]):
    """Give an account these roles instead of those it has; access tokens with the old ones are void at once."""

    topic: ClassVar[str] = "users.assign-roles.v1"
    refusals = (no_such_user, not_yourself)
    id: UUID
    roles: Roles


class GetRevocations(Query[Revocations]):
    """The access tokens that were revoked lately."""

    topic: ClassVar[str] = f"users.{GET_REVOCATIONS}"


class GetKeys(Query[Jwks]):
    """The keys that verify access tokens."""

    topic: ClassVar[str] = "users.get-keys.v1"


class TokensRevoked(Event, Revocation):
    """Access tokens of a user are void before they expire."""

    topic: ClassVar[str] = f"users.{REVOKED}"
    subject: ClassVar[str] = "user_id"


class UserCreated(Event):
    """A person opened an account."""

    topic: ClassVar[str] = "users.user-created.v1"
    subject: ClassVar[str] = "user_id"
    user_id: UUID
    created_at: Moment


class UserErased(Event):
    """A person closed their account: every service that keeps data of theirs destroys the key to it."""

    topic: ClassVar[str] = "users.user-erased.v1"
    subject: ClassVar[str] = "user_id"
    user_id: UUID
