"""What instances say of themselves, and what their manifests declare."""

from hashlib import sha256
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from contracts.base import (
    Caller,
    Event,
    Message,
    Moment,
    Refusal,
    RefusalKind,
    Said,
    Slug,
    forbidden,
    unauthenticated,
)
from contracts.json_schema import Schema

MAX_PARTS = 10
"""How many questions one request to a composition becomes, at most."""
PROBLEMS = "problems"
"""What stands beside the parts in the answer of a composition."""
LAST_EVENT_ID = "last-event-id"
"""The header that says how much of a stream the client has (WHATWG HTML, Server-Sent Events)."""
Who = Literal["anyone", "user", "staff"]
MAX_SECONDS = 30.0
"""How long an answer may take, at most."""


class Route(Message):
    """How an operation is reached over HTTP.

    `{name}` in the path is a field, `query` lists the fields of the query string, `wait` names the field that gets the
    seconds of a `Prefer: wait` header (RFC 7240, 4.3), `headers` gives fields the values of headers (their names in
    small letters); every other field is in the JSON body. With `raw`, that field gets the whole body as text instead,
    whatever its media type. `limit` names the limit that counts it, where that is not the one for reads or writes. Who
    has none of `roles`, if there are any, is kept out. `within_seconds` is how long the answer may take, where that is
    not what everybody gets.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    status: int = 200
    who: Who = "user"
    query: tuple[str, ...] = ()
    wait: str | None = None
    headers: dict[str, str] = {}
    raw: str | None = None
    limit: Slug | None = None
    roles: tuple[Slug, ...] = ()
    within_seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] | None = None

    def refusal_to(self, caller: Caller) -> Refusal | None:
        """Why the caller may not ask for the operation, if so."""
        if self.who == "anyone" and not self.roles:
            return None
        if caller.id is None:
            return unauthenticated()
        is_outsider = self.who == "staff" and not caller.is_staff
        lacks_role = bool(self.roles) and caller.roles.isdisjoint(self.roles)
        return forbidden() if is_outsider or lacks_role else None


class Stale(Message):
    """An event that makes an answer stale: any such event, or one whose field `among` (a value or a list of them) holds
    the value that `field` had in the request."""

    event: str
    field: str | None = None
    among: str | None = None


class Cache(Message):
    """An answer that may be given again for so many seconds, unless an event has made it stale."""

    seconds: Annotated[int, Field(ge=1, le=3600)]
    stale: tuple[Stale, ...] = ()


class Stream(Message):
    """An answer that edges ask for again whenever one of these events says that there may be more, and tell as
    Server-Sent Events. The field `after` gets how many items the client has; the reply is a `Growing`."""

    news: tuple[Stale, ...]
    after: str


class Part(Message):
    """A part of a composition: the query that is asked, with fields that are `given` and others that it `takes` from
    the address. In the answer it stands under its name."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    topic: str
    given: dict[str, str] = {}
    takes: tuple[str, ...] = ()


class Offer(Message):
    """An operation that a service answers. The schemas are JSON Schema 2020-12. A write with `keeps_answer` has one
    effect for each idempotency key; another one is done again. One with `parts` is a composition, which nobody is asked
    for as a whole: the edge asks the parts, and knows their schemas."""

    topic: str
    kind: Literal["query", "write"]
    summary: str = ""
    http: Route | None = None
    request: Schema
    reply: Schema
    refusals: tuple[RefusalKind, ...] = ()
    cache: Cache | None = None
    stream: Stream | None = None
    keeps_answer: bool = True
    parts: Annotated[tuple[Part, ...], Field(max_length=MAX_PARTS)] = ()


class Saying(Message):
    """An event or a command, with the schema of its data."""

    topic: str
    kind: Literal["event", "command"] = "event"
    schema_: Schema

    @classmethod
    def of(cls, said: type[Said]) -> "Saying":
        """What is told of a kind of message."""
        kind: Literal["event", "command"] = "event" if issubclass(said, Event) else "command"
        return cls(topic=said.topic, kind=kind, schema_=said.model_json_schema())


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
