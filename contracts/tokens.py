"""What an access token says (RFC 9068) and how it is revoked, agreed between who signs it and who verifies it.

Who issues the tokens is who holds the route JWKS_PATH. If that service, say `users`, can revoke tokens before they
expire, it says the event `users.<REVOKED>`, a `Revocation`, and answers the operation `users.<GET_REVOCATIONS>` with
the `Revocations` of at least the last LIFETIME_SECONDS.
"""

from uuid import UUID

from contracts.base import Message

ISSUER = "hedgerow"
AUDIENCE = "hedgerow"
TYPE = "at+jwt"
ALGORITHM = "ES256"
JWKS_PATH = "/.well-known/jwks.json"
LIFETIME_SECONDS = 600
"""No access token is good for longer."""
# Claims beside iss, aud, exp, iat, sub (the user's id) and jti:
SESSION_CLAIM = "sid"
ROLES_CLAIM = "roles"
GENERATION_CLAIM = "gen"

# A ticket opens a stream, and nothing else, for who can't send headers (a browser's EventSource): it travels in URLs.
TICKET_TYPE = "ticket+jwt"
TICKET_AUDIENCE = "hedgerow-streams"
TICKET_SECONDS = 60

REVOKED = "tokens-revoked.v1"
GET_REVOCATIONS = "get-revocations.v1"


class Revocation(Message):
    """These tokens of a user are void: those of one session, or (where none is named) those of a generation before this
    one. Generations are counted rather than timed, because no two clocks agree."""

    user_id: UUID
    session: UUID | None = None
    generation: int = 0


class Revocations(Message):
    """All revocations that may still matter: the sessions, and by user the first generation that is not void."""

    sessions: tuple[UUID, ...] = ()
    generations: dict[UUID, int] = {}
