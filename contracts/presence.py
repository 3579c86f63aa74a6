"""What instances say of themselves, and what their manifests declare."""

from hashlib import sha256
from typing import Any, ClassVar, Literal
from uuid import UUID

from contracts.base import Caller, Message, Moment, Refusal, RefusalKind, Slug, forbidden, unauthenticated

Who = Literal["anyone", "user", "staff"]
Schema = dict[str, Any]


class Route(Message):
    """How an operation is reached over HTTP.

    `{name}` in the path is a field, `query` lists the fields of the query string, `wait` names the field that gets the
    seconds of a `Prefer: wait` header (RFC 7240, 4.3), `headers` gives fields the values of headers (their names in
    small letters); every other field is in the JSON body. With `raw`, that field gets the whole body as text instead,
    whatever its media type. Who has none of `roles`, if there are any, is kept out.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    status: int = 200
    who: Who = "user"
    query: tuple[str, ...] = ()
    wait: str | None = None
    headers: dict[str, str] = {}
    raw: str | None = None
    roles: tuple[Slug, ...] = ()

    def refusal_to(self, caller: Caller) -> Refusal | None:
        """Why the caller may not ask for the operation, if so."""
        if self.who == "anyone" and not self.roles:
            return None
        if caller.id is None:
            return unauthenticated()
        is_outsider = self.who == "staff" and not caller.is_staff
        lacks_role = bool(self.roles) and caller.roles.isdisjoint(self.roles)
        return forbidden() if is_outsider or lacks_role else None


class Offer(Message):
    """An operation that a service answers. The schemas are JSON Schema 2020-12."""

    topic: str
    kind: Literal["query", "write"]
    summary: str = ""
    http: Route | None = None
    request: Schema
    reply: Schema
    refusals: tuple[RefusalKind, ...] = ()


class Saying(Message):
    """An event or a command, with the schema of its data."""

    topic: str
    schema_: Schema


class Manifest(Message):
    """What a service is: what it answers, hears (events and commands) and says."""

    service: Slug
    version: str
    offers: tuple[Offer, ...] = ()
    hears: tuple[str, ...] = ()
    says: tuple[Saying, ...] = ()

    @property
    def digest(self) -> str:
        """A short name for exactly this manifest."""
        return sha256(self.model_dump_json().encode()).hexdigest()[:16]


class Hello(Message):
    """An instance is there: at its start, and whenever somebody calls the roll."""

    topic: ClassVar[str] = "presence.hello"
    instance: UUID
    manifest: Manifest
    started_at: Moment


class Beat(Message):
    """An instance is still there; at most 300 bytes.

    `load` is how many messages it works on now; `consumed` is how many seconds ago it last had proof that it consumes,
    for its request queue and then for each of its manifest's `hears`, in that order.
    """

    topic: ClassVar[str] = "presence.beat"
    instance: UUID
    service: str
    digest: str
    load: int
    consumed: tuple[int, ...] = ()


class Bye(Message):
    """An instance is leaving."""

    topic: ClassVar[str] = "presence.bye"
    instance: UUID
    service: str


class RollCall(Message):
    """Who is there? Every instance answers with a hello."""

    topic: ClassVar[str] = "presence.roll-call"
    asked_by: UUID


class Refused(Message):
    """What a service claimed and did not get, told to it by an edge, so that its author reads it in its own output."""

    topic: ClassVar[str] = "presence.refused"
    service: str
    claim: str
    reason: str


class Accepted(Message):
    """A manifest that an edge accepted, kept so that a service that is away is still known."""

    topic: ClassVar[str] = "presence.accepted"
    login: str
    manifest: Manifest
    newest: Moment
