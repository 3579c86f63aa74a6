"""What the platform writes down: one JSON object a line, in the fields of the Elastic Common Schema (ECS).

Promise: every line has a time, a level, a message and its service, and, where it was written while something was worked
on, the ids of that (request, message, trace); what ECS has no field for is text under `labels`. What contracts mark as
personal is masked, and an exception tells no values that a customer may have sent, whoever raised it. On a terminal
lines are for people. What other libraries log comes the same way.
"""

import atexit
import json
import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import structlog
from pydantic import ValidationError
from structlog.types import EventDict, WrappedLogger

from broker.masking import masked
from broker.shipping import Shipper

ECS_VERSION = "8.11.0"
SHIP_TO = "HEDGEROW_LOGS_TCP"
FIELDS = {
    "event": "message",
    "level": "log.level",
    "logger": "log.logger",
    "timestamp": "@timestamp",
    "service": "service.name",
    "version": "service.version",
    "instance": "service.node.name",
    "request_id": "http.request.id",
    "message_id": "event.id",
    "trace": "trace.id",
    "user": "user.id",
    "url": "url.full",
    "error": "error.message",
    "error_type": "error.type",
    "exception": "error.stack_trace",
}
"""The field of ECS for each of the names by which the code calls things."""
Ids = Callable[[], Mapping[str, str | None]]
_LONGEST = 500
_working_on: ContextVar[Ids] = ContextVar("working_on", default=dict)


def working_on(ids: Ids) -> None:
    """Until this task ends (or says otherwise), its lines have these ids; they are asked for only by a line."""
    _working_on.set(ids)


def trace_of(traceparent: str | None) -> str | None:
    """The trace id of a W3C traceparent; None for what is none."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else None


class BadCollectorError(Exception):
    """The lines can't be sent where the setting says; the message is for the operator."""


class Output:
    """Where lines go: to the standard output, and to a collector where there is one."""

    def __init__(self) -> None:
        self.shipper: Shipper | None = None

    def write(self, text: str) -> None:
        """Whole lines."""
        sys.stdout.write(text)
        if self.shipper is not None:
            self.shipper.add(text)

    def flush(self) -> None:
        """Leave nothing in a buffer of this process' own."""
        sys.stdout.flush()


output = Output()


def configure_logging(service: str, *, ship_to: str | None = None) -> None:
    """Log to standard output, and to `ship_to` (host:port). Raises BadCollectorError."""
    if ship_to:
        output.shipper = Shipper(*_address(ship_to))
        atexit.register(output.shipper.finish, within=1.0)
    for_people = sys.stdout.isatty() and output.shipper is None
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _with_ids,
            _without_values,
            _without_people,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_for_people() if for_people else _for_machines(service)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=output),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    # They say the same loss dozens of times, with stacks; our links say it once.
    for name in ("aiormq", "aio_pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.basicConfig(level=logging.WARNING, handlers=[_Forwarding()], force=True)


def in_ecs(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, by the names of ECS; the others are labels, which are text."""
    told: dict[str, Any] = {"ecs.version": ECS_VERSION}
    for name, fact in facts.items():
        if fact is not None:
            told[FIELDS.get(name, f"labels.{name}")] = fact if isinstance(fact, str) else str(fact)
    return told


def _for_machines(service: str) -> list[structlog.types.Processor]:
    def render(_: WrappedLogger, __: str, facts: EventDict) -> str:
        return json.dumps(in_ecs({"service": service, **facts}))

    return [render]


def _for_people() -> list[structlog.types.Processor]:
    return [structlog.dev.ConsoleRenderer()]


def _with_ids(_: WrappedLogger, __: str, facts: EventDict) -> EventDict:
    for name, value in _working_on.get()().items():
        if value is not None:
            facts.setdefault(name, value)
    return facts


def _without_values(_: WrappedLogger, __: str, facts: EventDict) -> EventDict:
    """Exceptions as text. structlog's own stacks would show messages as they are, and on a terminal local variables."""
    failure = facts.pop("exc_info", None)
    failure = sys.exc_info()[1] if failure is True else failure[1] if isinstance(failure, tuple) else failure
    if failure:
        facts["exception"] = stack_of(failure)
    error = facts.get("error")
    if isinstance(error, BaseException):
        facts.update(error=told(error)[:_LONGEST], error_type=type(error).__name__)
    return facts


def _without_people(_: WrappedLogger, __: str, facts: EventDict) -> EventDict:
    return {name: masked(fact) for name, fact in facts.items()}


def stack_of(failure: BaseException) -> str:
    """Where it was raised, with what caused it before it."""
    before = failure.__cause__ or (None if failure.__suppress_context__ else failure.__context__)
    parts = [stack_of(before)] if before is not None else []
    parts += traceback.format_tb(failure.__traceback__)
    parts.append(f"{type(failure).__name__}: {told(failure)}\n")
    if isinstance(failure, BaseExceptionGroup):
        parts += map(stack_of, failure.exceptions)
    return "".join(parts)


def told(error: BaseException) -> str:
    """What an exception says, without the values that validation and databases quote."""
    if isinstance(error, ValidationError):
        wrong = (f"{'.'.join(map(str, part['loc']))}: {part['type']}" for part in error.errors(include_input=False))
        return f"{error.title}: {'; '.join(wrong)}"
    if isinstance(error.__cause__, ValidationError):
        return told(error.__cause__)
    of_the_driver = getattr(error, "orig", None)  # SQLAlchemy's say the statement with its parameters
    if isinstance(of_the_driver, BaseException):
        return told(of_the_driver.__cause__ or of_the_driver)
    if hasattr(error, "sqlstate"):  # the detail of a PostgreSQL error quotes the row
        return str(error.args[0]) if error.args else ""
    return str(error)


def _address(ship_to: str) -> tuple[str, int]:
    host, _, port = ship_to.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise BadCollectorError(f"{SHIP_TO} is {ship_to!r}, which is no address (host:port).")
    return host.strip("[]"), int(port)


class _Forwarding(logging.Handler):
    """Says what other libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        say = structlog.get_logger().bind(logger=record.name)
        say.log(record.levelno, record.getMessage(), exc_info=record.exc_info)
