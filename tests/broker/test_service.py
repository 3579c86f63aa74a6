"""What a service declares, and the mistakes that are found while it does."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from broker.injection import Attempt
from broker.lane import Ask
from broker.reader import Reader
from broker.service import Http, Service
from broker.transaction import Transaction
from contracts.base import Caller, Command, Event, Message, Operation, Query, Refusal, refusal
from contracts.orders import OrderPlaced

gone = refusal("gone", 410, "It is gone.")


class Thing(Message):
    id: str


class GetThing(Query[Thing]):
    """One thing.

    Not in the summary.
    """

    topic: ClassVar[str] = "things.get-thing.v1"
    refusals = (gone,)
    id: str
    detailed: bool = False


class PutThing(Operation[Thing]):
    """Keep a thing."""

    topic: ClassVar[str] = "things.put-thing.v1"
    id: str
    name: str


class Kept(Event):
    topic: ClassVar[str] = "things.kept.v1"
    subject: ClassVar[str] = "id"
    id: str


class Move(Command):
    topic: ClassVar[str] = "things.move.v1"
    subject: ClassVar[str] = "id"
    id: str


class Moved(Event):
    topic: ClassVar[str] = "elsewhere.moved.v1"
    subject: ClassVar[str] = "id"
    id: str


class Gateway:
    """Something that is provided."""


@pytest.fixture
def service() -> Service:
    return Service("things", says=(Kept,), version="1")


async def get_thing(question: GetThing) -> Thing | Refusal:
    return Thing(id=question.id)


async def put_thing(ask: PutThing) -> Thing:
    return Thing(id=ask.id)


def test_the_manifest_says_what_is_answered_heard_and_said(service: Service) -> None:
    service.answers(GetThing, http=Http("GET", "/things/{id}"))(get_thing)
    service.answers(PutThing)(put_thing)
    service.hears(Moved)(_hear)
    service.does(Move)(_move)
    manifest = service.manifest()
    assert [(offer.topic, offer.kind, offer.summary) for offer in manifest.offers] == [
        ("things.get-thing.v1", "query", "One thing."),
        ("things.put-thing.v1", "write", "Keep a thing."),
    ]
    assert manifest.offers[0].refusals == (gone,)
    assert manifest.hears == ("elsewhere.moved.v1", "things.move.v1")
    assert [saying.topic for saying in manifest.says] == ["things.kept.v1"]


def test_the_same_declaration_has_the_same_digest(service: Service) -> None:
    assert service.manifest().digest == Service("things", says=(Kept,), version="1").manifest().digest
    assert service.manifest().digest != Service("things", says=(Kept,), version="2").manifest().digest


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_without_a_body_the_fields_outside_the_path_are_in_the_query_string(service: Service, method: str) -> None:
    service.answers(GetThing, http=Http(method, "/things/{id}"))(get_thing)
    route = service.manifest().offers[0].http
    assert route is not None
    assert route.query == ("detailed",)


def test_with_a_body_only_the_fields_that_are_named_are_in_the_query_string(service: Service) -> None:
    service.answers(PutThing, http=Http("PUT", "/things/{id}"))(put_thing)
    route = service.manifest().offers[0].http
    assert route is not None
    assert route.query == ()


def test_a_route_needs_a_token_unless_it_says_otherwise() -> None:
    assert Http("GET", "/things").who == "user"


def test_who_needs_a_role_can_not_be_anyone(service: Service) -> None:
    with pytest.raises(ValueError, match="needs a role"):
        service.answers(GetThing, http=Http("GET", "/things/{id}", who="anyone", roles=("baker",)))(get_thing)


def test_an_unknown_method_is_a_mistake() -> None:
    with pytest.raises(ValidationError):
        Http("FETCH", "/things")


def test_another_services_operation_or_command_is_a_mistake() -> None:
    thief = Service("thing", version="1")
    with pytest.raises(ValueError, match=r"things.get-thing.v1 belongs to another service"):
        thief.answers(GetThing)
    with pytest.raises(ValueError, match=r"things.move.v1 belongs to another service"):
        thief.does(Move)


def test_another_services_event_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"orders.order-placed.v1 belongs to another service"):
        Service("thing", version="1", says=(OrderPlaced,))


@pytest.mark.parametrize(
    ("path", "query"), [("/things/{identity}", ()), ("/things/{id}", ("colour",))], ids=["path", "query"]
)
def test_a_route_with_a_field_that_the_operation_has_not_is_a_mistake(
    service: Service, path: str, query: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="GetThing has no field"):
        service.answers(GetThing, http=Http("GET", path, query=query))(get_thing)


def test_a_second_handler_for_one_message_is_a_mistake(service: Service) -> None:
    service.answers(GetThing)(get_thing)
    service.hears(Moved)(_hear)
    with pytest.raises(ValueError, match="GetThing has a handler already"):
        service.answers(GetThing)(get_thing)
    with pytest.raises(ValueError, match="Moved has a handler already"):
        service.hears(Moved)(_hear)


def test_an_operation_that_does_not_say_what_answers_it_is_a_mistake(service: Service) -> None:
    class Vague(Operation):  # type: ignore[type-arg]
        topic: ClassVar[str] = "things.vague.v1"

    with pytest.raises(TypeError, match="does not say what answers it"):
        service.answers(Vague)(get_thing)


def test_a_parameter_without_an_annotation_is_a_mistake(service: Service) -> None:
    async def handler(question: GetThing, other) -> Thing:  # type: ignore[no-untyped-def]
        raise NotImplementedError

    with pytest.raises(TypeError, match="the parameter other needs an annotation"):
        service.answers(GetThing)(handler)


def test_what_nobody_provides_is_a_mistake(service: Service) -> None:
    async def handler(question: GetThing, gateway: Gateway) -> Thing:
        raise NotImplementedError

    service.answers(GetThing)(handler)
    with pytest.raises(TypeError, match=r"Gateway.* can be given for gateway"):
        service.check()
    service.provide(Gateway())
    service.check()


def test_handlers_may_want_what_the_platform_gives(service: Service) -> None:
    async def first(question: PutThing, ask: Ask, caller: Caller) -> Gateway | Refusal:
        raise NotImplementedError

    async def answer(question: PutThing, tx: Transaction, ask: Ask, caller: Caller, gateway: Gateway) -> Thing:
        raise NotImplementedError

    async def move(command: Move, tx: Transaction, attempt: Attempt, ask: Ask) -> None: ...

    async def start(tx: Transaction, ask: Ask) -> None: ...

    service.answers(PutThing, first=first)(answer)
    service.does(Move)(move)
    service.at_start(start)
    service.check()


def test_a_handler_that_wants_a_transaction_needs_a_database(service: Service) -> None:
    async def handler(command: Move, tx: Transaction) -> None: ...

    assert not service.needs_database
    service.does(Move)(handler)
    assert service.needs_database


@pytest.mark.parametrize("kind", [Caller, Attempt])
def test_what_makes_no_sense_for_a_message_can_not_be_wanted(service: Service, kind: Any) -> None:
    async def handler(message: Any, wanted: kind) -> Thing:
        raise NotImplementedError

    if kind is Caller:
        service.does(Move)(handler)
    else:
        service.answers(GetThing)(handler)
    with pytest.raises(TypeError, match="can be given for wanted"):
        service.check()


def test_what_comes_before_the_transaction_can_not_want_one(service: Service) -> None:
    async def first(question: PutThing, tx: Transaction) -> Gateway:
        raise NotImplementedError

    service.answers(PutThing, first=first)(put_thing)
    with pytest.raises(TypeError, match="can be given for tx"):
        service.check()


def test_a_query_may_read_beside_all_transactions_and_needs_a_database(service: Service) -> None:
    async def look(question: GetThing, reader: Reader) -> Thing:
        raise NotImplementedError

    service.answers(GetThing)(look)
    service.check()
    assert service.needs_database


def test_what_has_an_effect_can_not_read_beside_its_transaction(service: Service) -> None:
    async def put(ask: PutThing, reader: Reader) -> Thing:
        raise NotImplementedError

    service.answers(PutThing)(put)
    with pytest.raises(TypeError, match=r"put: only the handler of a query, or what goes `first`, can have a Reader"):
        service.check()


@pytest.mark.parametrize("place", ["hears", "does", "at_start", "then"])
def test_only_the_handler_of_a_query_and_what_goes_first_can_have_a_reader(service: Service, place: str) -> None:
    async def look(message: Any, reader: Reader) -> Thing:
        raise NotImplementedError

    async def start(reader: Reader) -> None: ...

    declare: dict[str, Callable[[], object]] = {
        "hears": lambda: service.hears(Moved)(look),
        "does": lambda: service.does(Move)(look),
        "at_start": lambda: service.at_start(start),
        "then": lambda: service.answers(GetThing, then=look)(get_thing),
    }
    declare[place]()
    with pytest.raises(TypeError, match="only the handler of a query"):
        service.check()


def test_with_a_raw_body_every_other_field_comes_from_elsewhere(service: Service) -> None:
    with pytest.raises(ValueError, match=r"can't be in the body, which is all"):
        service.answers(PutThing, http=Http("POST", "/things", raw=next(iter(PutThing.model_fields))))(put_thing)


@pytest.mark.parametrize("place", ["does", "answers"])
def test_what_goes_first_may_read_and_needs_a_database(service: Service, place: str) -> None:
    async def look(message: Any, reader: Reader) -> Thing:
        raise NotImplementedError

    async def move(command: Move, thing: Thing) -> None: ...

    async def put(ask: PutThing, thing: Thing) -> Thing:
        raise NotImplementedError

    declare: dict[str, Callable[[], object]] = {
        "does": lambda: service.does(Move, first=look)(move),
        "answers": lambda: service.answers(PutThing, first=look)(put),
    }
    declare[place]()
    service.check()
    assert service.needs_database


@pytest.mark.parametrize("seconds", [0, -1, 31, float("nan")])
def test_an_answer_may_not_take_no_time_or_forever(seconds: float) -> None:
    with pytest.raises(ValidationError, match="within_seconds"):
        Http("GET", "/things", within=seconds)


async def _hear(event: Moved) -> None:
    """Nothing."""


async def _move(command: Move) -> None:
    """Nothing."""
