"""The words every other word is made of.

Promise: messages are frozen; what a service *says* (events, commands, replies) ignores unknown fields, so that it can
grow; what a client *asks* (operations) refuses them, so that a typing error is never silently dropped. A topic carries
its version; a breaking change is a new class with a new topic.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class Message(BaseModel):
    """Anything that travels. Frozen; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Input(Message):
    """A part of an operation: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _read(moment: object) -> datetime:
    """Pydantic alone would also take a number, or a text that holds one, for seconds since 1970."""
    if isinstance(moment, datetime):
        return moment
    if isinstance(moment, str) and _DATE_TIME.fullmatch(moment):
        return datetime.fromisoformat(moment.upper())
    raise ValueError("a time is written as in RFC 3339: 2026-01-31T12:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first and the last hours that there are, in other zones
        raise ValueError("this time is too early or too late") from None


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_Written = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_read),
    AfterValidator(_in_utc),
    PlainSerializer(_written, return_type=_Written, when_used="json"),
]
"""A time with its zone, kept in UTC and written as RFC 3339."""

Sku = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"\S")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class Personal:
    """Marks a type whose values tell who somebody is, or let others pass for them: logs never show them."""


PERSONAL = Personal()
Email = Annotated[
    str, StringConstraints(pattern=r"^[^@\s]{1,64}@[^@\s]{1,190}\.[^@\s.]{1,60}$", max_length=254), PERSONAL
]
PersonName = Annotated[Name, PERSONAL]
Secret = Annotated[str, PERSONAL]
Quantity = Annotated[int, Field(ge=1, le=10_000)]
MAX_AMOUNT = 10**12


class Money(Input):
    """An amount in minor units (cents) with its ISO 4217 currency."""

    amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
    currency: Currency


class Address(Input):
    """Where something is sent or billed to. `country` is ISO 3166-1 alpha-2."""

    name: PersonName
    line1: PersonName
    line2: Annotated[Secret, StringConstraints(max_length=200)] | None = None
    postal_code: Annotated[Secret, StringConstraints(max_length=20)]
    city: PersonName
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]


class Line(Message):
    """A priced line of a quote or an order. `gross` = `net` + `tax`; `tax_rate` is a fraction ("0.19")."""

    kind: Literal["item", "shipping", "discount", "fee"]
    sku: str | None = None
    name: str
    quantity: int
    net: Money
    tax_rate: Decimal
    tax: Money
    gross: Money


class Item(Input):
    """So many of a product."""

    sku: Sku
    quantity: Quantity


# --- refusals ---------------------------------------------------------------------------------------------------------


class FieldError(Message):
    """Which field of a request is wrong (RFC 6901 pointer) and why."""

    pointer: str
    detail: str


class Refusal(Message):
    """A reply that says no: the stable slug is for programs, the detail for people. `status` is its HTTP status."""

    slug: str
    status: int
    title: str
    detail: str
    errors: tuple[FieldError, ...] = ()


class RefusalKind(Message):
    """A way to be refused, declared once: calling it with a detail makes the refusal."""

    slug: str
    status: Annotated[int, Field(ge=400, le=599)]
    title: str

    def __call__(self, detail: str = "", *errors: FieldError) -> Refusal:
        """The refusal itself; without a detail the title says it all."""
        return Refusal(slug=self.slug, status=self.status, title=self.title, detail=detail or self.title, errors=errors)


def refusal(slug: str, status: int, title: str) -> RefusalKind:
    """Declare a way to be refused: `no_such_product = refusal("no-such-product", 404, "There is no such product.")`."""
    return RefusalKind(slug=slug, status=status, title=title)


invalid_request = refusal("invalid-request", 422, "The request does not have the right form.")
malformed_json = refusal("malformed-json", 400, "The body is not JSON.")
unauthenticated = refusal("unauthenticated", 401, "This needs a valid access token.")
forbidden = refusal("forbidden", 403, "You may not do this.")
request_poisoned = refusal("request-poisoned", 500, "This request ended the service whenever it was tried.")
request_failed = refusal("request-failed", 500, "The service failed on this request.")
temporarily_unavailable = refusal("temporarily-unavailable", 503, "The service can't do this right now. Try again.")
key_reused = refusal("idempotency-key-reused", 422, "This idempotency key was used for another request.")
answer_erased = refusal("answer-erased", 410, "This was done; its answer was erased with somebody's data.")
key_in_progress = refusal("idempotency-key-in-progress", 409, "A request with this idempotency key is in progress.")
nobody_there = refusal("service-unavailable", 503, "Nobody is there to answer this right now.")
deadline_passed = refusal("deadline-passed", 504, "The answer did not come in time.")


# --- what is said -----------------------------------------------------------------------------------------------------

Reply = TypeVar("Reply")


class Operation(Input, Generic[Reply]):
    """Something that is asked for over the request lane and answered with a `Reply` or a `Refusal`.

    Asked twice with the same request id (or idempotency key) it has one effect. `answer_is_kept` = False for answers
    that must not be stored (tokens): these are simply done again.
    """

    topic: ClassVar[str]
    refusals: ClassVar[tuple[RefusalKind, ...]] = ()
    answer_is_kept: ClassVar[bool] = True

    @classmethod
    def reply_type(cls) -> Any:
        """The type between the brackets: `Product` for `class GetProduct(Query[Product])`."""
        for base in cls.__mro__:
            args = getattr(base, "__pydantic_generic_metadata__", {}).get("args")
            if args:
                return args[0]
        raise TypeError(f"{cls.__name__} does not say what answers it: write Operation[TheReply]")


class Query(Operation[Reply], Generic[Reply]):
    """An operation without effect: it may be asked again at will."""


class Said(Message):
    """A durable message about one aggregate; `subject` names the field that holds the aggregate's id."""

    topic: ClassVar[str]
    subject: ClassVar[str]

    @property
    def aggregate(self) -> str:
        """The id of the aggregate that this message is about."""
        return str(getattr(self, self.subject))


class Event(Said):
    """A fact, in the past tense. Holds ids, quantities and money, never personal data."""


class Command(Said):
    """One service asks another to do something durable; the first part of the topic is who does it."""


Element = TypeVar("Element")


class Page(Message, Generic[Element]):
    """A part of a list; `next` is the cursor of the following part."""

    items: tuple[Element, ...]
    next: str | None = None


class PageQuery(Query[Reply], Generic[Reply]):
    """A question for a part of a list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, StringConstraints(max_length=500)] | None = None


class Growing(Message, Generic[Element]):
    """What is new of a list that only grows; once it `is_over`, nothing more comes."""

    items: tuple[Element, ...]
    is_over: bool = False


class Caller(Message):
    """Who asks, as the edge verified it: nobody (`id` is None), a user, or staff."""

    id: UUID | None = None
    session: UUID | None = None
    roles: frozenset[str] = frozenset()

    @property
    def is_staff(self) -> bool:
        """Whether the caller works here."""
        return "staff" in self.roles
