"""What the database is asked, as spans (OpenTelemetry's conventions for PostgreSQL).

Promise: where nothing is traced, nothing is listened to. A statement is told without its values, and only as a part of
something else that is traced.
"""

import re
import time
from functools import lru_cache
from typing import Any

import asyncpg
from sqlalchemy import Engine, event

from broker import tracing
from broker.tracing import Attributes, Tracer

_LONGEST = 2000
_TEXT = re.compile(r"'(?:[^']|'')*'")
_TARGET = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+([a-z_][\w.]*)", re.IGNORECASE)


def listen_to(connection: asyncpg.Connection) -> None:
    """Tell of what this connection is asked, but for what SQLAlchemy prepares (`listen_to_engine`)."""
    tracer = tracing.tracer
    if tracer is not None:

        def asked(query: Any) -> None:
            host, port = query.conn_addr if isinstance(query.conn_addr, tuple) else (query.conn_addr, None)
            _tell(tracer, query.query, _at(host, port), query.elapsed, query.exception)

        connection.add_query_logger(asked)


def listen_to_engine(engine: Engine) -> None:
    """Tell of what this engine and its connections are asked."""
    tracer = tracing.tracer
    if tracer is None:
        return
    where = _at(engine.url.host, engine.url.port)

    def connected(connection: Any, _: object) -> None:
        listen_to(connection.driver_connection)

    def before(*about: Any) -> None:
        about[4].asked_at = time.monotonic()

    def after(*about: Any) -> None:
        _tell(tracer, about[2], where, time.monotonic() - about[4].asked_at, None)

    def failed(failure: Any) -> None:
        if failure.execution_context is not None:
            elapsed = time.monotonic() - failure.execution_context.asked_at
            _tell(tracer, failure.statement or "", where, elapsed, failure.original_exception)

    event.listen(engine, "connect", connected)
    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)


def _tell(tracer: Tracer, statement: str, where: Attributes, seconds: float, error: BaseException | None) -> None:
    name, said = described(statement)
    failed = None if error is None else getattr(error, "sqlstate", None) or type(error).__name__
    tracer.was(name, {**said, **where}, seconds=seconds, failed=failed)


def _at(host: str | None, port: int | None) -> Attributes:
    return {"server.address": host or "", "server.port": port or 5432}


@lru_cache(maxsize=1024)
def described(statement: str) -> tuple[str, Attributes]:
    """The name of a statement, and what is said of it: its text without the texts in it."""
    text = _TEXT.sub("?", " ".join(statement.split()))
    operation = text.partition(" ")[0].upper().rstrip(";")
    target = _TARGET.search(text)
    summary = operation if target is None else f"{operation} {target[1]}"
    return summary, {
        "db.system.name": "postgresql",
        "db.operation.name": operation,
        "db.query.summary": summary,
        "db.query.text": text[:_LONGEST],
    }
