"""A service, as its author writes it.

Promise: a `Service` is a declaration: what it answers, hears, does and says, with plain typed handlers. Transaction,
inbox, outbox, retries, presence and drain are implied. Mistakes in the declaration (another service's operation, a
second handler for one message, a parameter that nobody can give) are found when it is put together, in one sentence.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from faststream.rabbit import RabbitRouter
from pydantic import TypeAdapter

from broker.composing import Question, composition
from broker.injection import Attempt, Handler, check, given_by, needs
from broker.lane import Ask
from broker.reader import Reader
from broker.routes import Cached, Http, Streamed, as_a_stream, complete, must_be_cacheable
from broker.topology import COMMANDS, EVENTS, work_queue
from broker.transaction import Database, Transaction
from contracts.base import Caller, Command, Event, Operation, Query, Refusal, Said
from contracts.presence import Cache, Manifest, Offer, Route, Saying, Stream

__all__ = ["Cached", "Http", "Service", "Streamed"]

Function = TypeVar("Function", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True, slots=True)
class Answerer:
    """How an operation is answered; `first` runs before the transaction, `then` after its commit, with the reply."""

    operation: type[Operation[Any]]
    handler: Handler
    wants: dict[str, Any]
    reply: TypeAdapter[Any]
    http: Route | None
    first: "Stage | None"
    then: "Stage | None"
    cache: Cache | None = None
    stream: Stream | None = None

    @property
    def is_query(self) -> bool:
        """Whether it may be asked again at will."""
        return issubclass(self.operation, Query)


@dataclass(frozen=True, slots=True)
class Listener:
    """How an event or a command is handled."""

    message: type[Said]
    handler: Handler
    wants: dict[str, Any]
    ordered: bool
    first: "Stage | None"
    queue: str
    exchange: str


@dataclass(frozen=True, slots=True)
class Stage:
    """What happens outside of the transaction; what it returns is `gives`."""

    handler: Handler
    wants: dict[str, Any]
    gives: Any


@dataclass(frozen=True, slots=True)
class Chore:
    """What every instance does again and again; its work is shared by what it locks."""

    handler: Handler
    wants: dict[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Measure:
    """A gauge of the service's own: its handler returns a number, or numbers by the values of `label`."""

    name: str
    meaning: str
    label: str | None
    handler: Handler
    wants: dict[str, Any]


@dataclass
class Service:
    """The declaration of a service. Its name is the first part of its topics, its login and its schema.

    `says` lists the events and commands that it may emit and send; `migrations` names the package with its Alembic
    `versions`.
    """

    name: str
    says: tuple[type[Said], ...] = ()
    migrations: str | None = None
    version: str = field(default_factory=lambda: installed_version("hedgerow"))
    answerers: dict[str, Answerer] = field(default_factory=dict, init=False)
    compositions: list[Offer] = field(default_factory=list, init=False)
    listeners: dict[str, Listener] = field(default_factory=dict, init=False)
    starters: list[tuple[Handler, dict[str, Any]]] = field(default_factory=list, init=False)
    chores: list[Chore] = field(default_factory=list, init=False)
    measured: list[Measure] = field(default_factory=list, init=False)
    provided: dict[Any, Any] = field(default_factory=dict, init=False)
    router: RabbitRouter = field(default_factory=RabbitRouter, init=False)
    """For subscribers in plain FastStream, beside those declared here."""

    def __post_init__(self) -> None:
        for kind in self.says:
            if issubclass(kind, Event):
                self._must_own(kind.topic)

    def answers(
        self,
        operation: type[Operation[Any]],
        *,
        http: Route | None = None,
        first: Handler | None = None,
        then: Handler | None = None,
        cache: Cache | None = None,
        stream: Stream | None = None,
    ) -> Callable[[Function], Function]:
        """Answer an operation: the handler returns its reply or a Refusal. Raises ValueError for another's.

        `first` runs before the transaction and gives its result to the handler; `then` runs after the commit, gets the
        reply and returns the one that is sent. With `cache` (see Cached) edges may answer for a while themselves, with
        `stream` (see Streamed) they go on telling what is new.
        """
        self._must_own(operation.topic)
        _only_once(operation, self.answerers)
        if cache is not None:
            must_be_cacheable(operation, http, cache)
        if stream is not None:
            http = as_a_stream(operation, http, stream)

        def register(handler: Function) -> Function:
            route = None if http is None else complete(http, operation)
            reply: TypeAdapter[Any] = TypeAdapter(operation.reply_type())
            self.answerers[operation.topic] = Answerer(
                operation, handler, needs(handler), reply, route, _stage(first), _stage(then), cache, stream
            )
            return handler

        return register

    def composes(self, topic: str, *, http: Route, summary: str, **parts: Question) -> None:
        """Give several questions one address: the edge asks them at once and answers what there is. The keywords name
        the parts (`orders=part(ListOrders, limit=5)`). Raises ValueError."""
        self._must_own(topic)
        self.compositions.append(composition(topic, http, summary, parts))

    def hears(
        self, event: type[Event], *, ordered: bool = True, first: Handler | None = None
    ) -> Callable[[Function], Function]:
        """Hear an event, in the order of its aggregate unless `ordered` is False."""
        return self._listen(event, EVENTS, ordered, first)

    def does(self, command: type[Command], *, first: Handler | None = None) -> Callable[[Function], Function]:
        """Do what another service commands. Raises ValueError for a command to another service."""
        self._must_own(command.topic)
        return self._listen(command, COMMANDS, False, first)

    def at_start(self, handler: Function) -> Function:
        """Run at each instance's start, in a transaction, after the migrations."""
        wants = needs(handler, message=False)
        self.starters.append((handler, wants))
        return handler

    def every(self, *, seconds: float) -> Callable[[Function], Function]:
        """Run again and again in each instance, so many seconds apart, and at once where the last run returned True
        (there is more to do). In a transaction, if the handler wants one."""

        def register(handler: Function) -> Function:
            self.chores.append(Chore(handler, needs(handler, message=False), seconds))
            return handler

        return register

    def measures(self, name: str, meaning: str, *, label: str | None = None) -> Callable[[Function], Function]:
        """Have a gauge on the page of metrics: what the handler returns whenever the page is asked for. It may want a
        Reader."""

        def register(handler: Function) -> Function:
            self.measured.append(Measure(name, meaning, label, handler, needs(handler, message=False)))
            return handler

        return register

    def provide(self, thing: object, *, as_type: Any = None) -> None:
        """Give `thing` to every handler with a parameter of its type (or of `as_type`)."""
        self.provided[as_type or type(thing)] = thing

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, as HEDGEROW_AMQP_URL and HEDGEROW_DATABASE_URL say."""
        from broker.running import run  # the declaration can be read without what runs it

        run(self)

    @property
    def news(self) -> frozenset[str]:
        """The events that make something stale which this service answers."""
        cached = (answerer.cache for answerer in self.answerers.values() if answerer.cache is not None)
        return frozenset(stale.event for cache in cached for stale in cache.stale)

    @property
    def needs_database(self) -> bool:
        """Whether it has tables, or a handler that wants a transaction or a reader."""
        wanted = [answerer.wants for answerer in self.answerers.values()]
        wanted += [listener.wants for listener in self.listeners.values()]
        firsts = [answerer.first for answerer in self.answerers.values()]
        firsts += [listener.first for listener in self.listeners.values()]
        wanted += [first.wants for first in firsts if first is not None]
        wanted += [wants for _, wants in self.starters]
        wanted += [chore.wants for chore in self.chores]
        wanted += [measure.wants for measure in self.measured]
        return self.migrations is not None or any(
            {Transaction, Reader, Database} & set(kinds.values()) for kinds in wanted
        )

    def check(self) -> None:
        """Raises TypeError if a handler wants something that can't be given."""
        given = {Transaction, Ask, *self.provided}
        for answerer in self.answerers.values():
            asked = given | {Caller, Reader} if answerer.is_query else given | {Caller}
            self._check(answerer.handler, answerer.wants, answerer.first, asked)
            if answerer.then is not None:
                _must_get(answerer.then.handler, answerer.then.wants, given | {Caller, Database, answerer.then.gives})
        for listener in self.listeners.values():
            self._check(listener.handler, listener.wants, listener.first, given | {Attempt})
        for handler, wants in self.starters:
            _must_get(handler, wants, given)
        for chore in self.chores:
            _must_get(chore.handler, chore.wants, given | {Database})
        for measure in self.measured:
            check(measure.handler, measure.wants, {Reader, *self.provided})

    def manifest(self) -> Manifest:
        """What is told to the others."""
        return Manifest(
            service=self.name,
            version=self.version,
            offers=(*(_offer(answerer) for answerer in self.answerers.values()), *self.compositions),
            hears=tuple(sorted(self.listeners)),
            says=tuple(map(Saying.of, self.says)),
        )

    @staticmethod
    def _check(handler: Handler, wants: dict[str, Any], first: Stage | None, given: set[Any]) -> None:
        if first is not None:
            _must_get(first.handler, first.wants, (given - {Transaction}) | {Reader})
        _must_get(handler, wants, given if first is None else {*given, first.gives})

    def _listen(
        self, message: type[Said], exchange: str, ordered: bool, first: Handler | None
    ) -> Callable[[Function], Function]:
        _only_once(message, self.listeners)

        def register(handler: Function) -> Function:
            queue = work_queue(self.name, message.topic)
            self.listeners[message.topic] = Listener(
                message, handler, needs(handler), ordered, _stage(first), queue, exchange
            )
            return handler

        return register

    def _must_own(self, topic: str) -> None:
        if not topic.startswith(f"{self.name}."):
            mine = f"{self.name} can only answer, do and tell what is called {self.name}.…"
            raise ValueError(f"{topic} belongs to another service: {mine}")


def _only_once(message: type[Operation[Any]] | type[Said], handled: Mapping[str, object]) -> None:
    if message.topic in handled:
        raise ValueError(f"{message.__name__} has a handler already")


def _must_get(handler: Handler, wants: dict[str, Any], given: set[Any]) -> None:
    if Reader in wants.values() and Reader not in given:
        raise TypeError(f"{handler.__qualname__}: only the handler of a query, or what goes `first`, can have a Reader")
    check(handler, wants, given)


def _stage(handler: Handler | None) -> Stage | None:
    return None if handler is None else Stage(handler, needs(handler), _without_refusal(given_by(handler)))


def _without_refusal(kind: Any) -> Any:
    if get_origin(kind) not in (Union, UnionType):
        return kind
    left = tuple(part for part in get_args(kind) if part is not Refusal)
    return left[0] if len(left) == 1 else Union[left]  # noqa: UP007 - the parts are values here


def _offer(answerer: Answerer) -> Offer:
    operation = answerer.operation
    return Offer(
        topic=operation.topic,
        kind="query" if answerer.is_query else "write",
        summary=(operation.__doc__ or "").strip().split("\n")[0],
        http=answerer.http,
        request=operation.model_json_schema(),
        reply=answerer.reply.json_schema(mode="serialization"),
        refusals=operation.refusals,
        cache=answerer.cache,
        stream=answerer.stream,
        keeps_answer=operation.answer_is_kept,
    )
