"""What is written down: in the fields of ECS, with the ids of what was worked on, without anybody's values."""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, ValidationError

from broker.logs import BadCollectorError, configure_logging, stack_of, trace_of, working_on
from broker.message import MalformedMessageError
from broker.telemetry import log
from contracts.users import RegisterUser
from infra.launcher.state import REPOSITORY
from tests.support.ecs import TYPES, breaches

ANNA = "anna@example.org"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configure_logging("tests")
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def line(capsys: Captured) -> dict[str, Any]:
    """The one line that was written, which must be as ECS says."""
    (written,) = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(written)
    assert list(breaches(found)) == []
    return found


class Person(BaseModel):
    """Somebody with something to hide."""

    email: str
    age: int


class RowError(Exception):
    """An error of a database driver, as asyncpg's are."""

    sqlstate = "23505"

    def __str__(self) -> str:
        return f"{self.args[0]}\nDETAIL:  Key (email)=({ANNA}) already exists."


class StatementError(Exception):
    """One of SQLAlchemy's."""

    orig = RowError("duplicate key")


def wrong() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Person.model_validate({"email": ANNA, "age": ANNA})
    return caught.value


def malformed() -> MalformedMessageError:
    error = MalformedMessageError(str(wrong()))
    error.__cause__ = wrong()
    return error


def test_a_line_has_the_fields_of_ecs_and_what_they_have_not_is_a_label(capsys: Captured) -> None:
    log.info("serving", version="1", queue="orders", attempt=3, nothing=None)
    found = line(capsys)
    del found["@timestamp"], found["ecs.version"]
    assert found == {
        "service.name": "tests",
        "service.version": "1",
        "log.level": "info",
        "message": "serving",
        "labels.queue": "orders",
        "labels.attempt": "3",
    }


async def test_a_line_has_the_ids_of_what_its_task_works_on_and_no_others(capsys: Captured) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"

    async def work() -> None:
        working_on(lambda: {"request_id": "7", "trace": trace_of(f"00-{trace}-b7ad6b7169203331-01"), "queue": None})
        log.info("working")

    await asyncio.create_task(work())
    found = line(capsys)
    assert (found["http.request.id"], found["trace.id"], "labels.queue" in found) == ("7", trace, False)
    log.info("idle")
    assert "trace.id" not in line(capsys)


@pytest.mark.parametrize("traceparent", [None, "", "00-short-b7ad6b7169203331-01", "nonsense"])
def test_a_trace_that_is_none_has_no_id(traceparent: str | None) -> None:
    assert trace_of(traceparent) is None


@pytest.mark.parametrize(
    "error", [wrong(), RowError("duplicate key"), StatementError(), malformed()], ids=lambda e: type(e).__name__
)
def test_an_exception_tells_what_is_wrong_and_not_with_whose_values(error: Exception, capsys: Captured) -> None:
    assert ANNA in str(getattr(error, "orig", error))
    log.warning("it failed", error=error)
    found = line(capsys)
    assert found["error.type"] == type(error).__name__
    assert found["error.message"]
    try:
        raise RuntimeError("outer") from error
    except RuntimeError:
        log.exception("it failed")
    text = json.dumps(found) + json.dumps(line(capsys))
    assert ANNA not in text


def test_a_stack_tells_the_causes_first_and_the_parts_of_a_group() -> None:
    cause, parts = KeyError("cause"), [ValueError("one"), ValueError("two")]
    group = ExceptionGroup("several", parts)
    group.__cause__ = cause
    words = ["KeyError: 'cause'", "ExceptionGroup: several", "ValueError: one", "ValueError: two"]
    stack = stack_of(group)
    assert [word for word in sorted(words, key=stack.find) if word in stack] == words


def test_a_stack_says_where_it_was_raised(capsys: Captured) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        log.exception("it failed")
    assert "test_a_stack_says_where_it_was_raised" in line(capsys)["error.stack_trace"]


def test_what_other_libraries_log_comes_the_same_way(capsys: Captured) -> None:
    logging.getLogger("somebody.else").warning("beware of %s", "dogs")
    found = line(capsys)
    assert (found["message"], found["log.level"], found["log.logger"]) == ("beware of dogs", "warning", "somebody.else")


def test_on_a_terminal_lines_are_for_people(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    configure_logging("tests")
    log.warning("it failed", error=wrong())
    said = capsys.readouterr().out
    assert "it failed" in said
    assert not said.startswith("{")
    assert ANNA not in said


@pytest.mark.parametrize("address", ["logstash", ":5514", "logstash:", "logstash:no", "logstash:0", "logstash:65536"])
def test_a_collector_without_an_address_is_refused(address: str) -> None:
    with pytest.raises(BadCollectorError, match="HEDGEROW_LOGS_TCP"):
        configure_logging("tests", ship_to=address)


def test_the_index_template_has_the_types_that_ecs_publishes() -> None:
    template = json.loads((REPOSITORY / "infra" / "elk" / "index-template.json").read_text())
    assert dict(_leaves(template["template"]["mappings"]["properties"])) == TYPES


def _leaves(properties: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, mapping in properties.items():
        if "properties" in mapping:
            yield from _leaves(mapping["properties"], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", mapping["type"]


def test_messages_are_written_without_what_is_personal(capsys: Captured) -> None:
    asked = RegisterUser(email=ANNA, password="correct horse", name="Anna")
    log.info(f"{ANNA} registers", asked=asked, known={"mail": ANNA})
    told = line(capsys)
    assert "Anna" not in str(told)
    assert ANNA not in str(told)
    assert "correct horse" not in str(told)
    assert told["message"] == "*** registers"
