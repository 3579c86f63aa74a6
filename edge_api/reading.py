"""What the client sent, as the fields and the header values of a request.

Promise: a field of the address that the route does not list is refused, and so is a header that makes no sense. Whether
the JSON fits the operation is for the service to say.
"""

import json
import re
from collections.abc import Iterable, Mapping
from random import getrandbits
from urllib.parse import parse_qsl

from contracts.base import invalid_request
from contracts.presence import Route
from edge_api.incoming import Incoming
from edge_api.problems import (
    RefusedError,
    bad_idempotency_key,
    fields_refused,
    malformed_url,
    not_text,
    repeated_header,
    unsupported_media_type,
    url_too_long,
)
from edge_api.responses import Header
from edge_api.routing import Target

MAX_QUERY_FIELDS = 100
MAX_URL = 8192
"""It travels in the headers of a message, which must fit into one frame."""
MAX_HEADER = 4096
MAX_WAIT_SECONDS = 30
NO_FIELDS = b"{}"
_PRINTABLE = re.compile(rb"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_WAIT = re.compile(rb"(?:^|[,;\s])wait=\"?(\d{1,6})\"?(?:$|[,;\s])")

_TICKET = b"ticket="
_SINGLE = (b"authorization", b"content-type", b"idempotency-key")

Headers = Mapping[bytes, bytes]


def ticket_in(target: Target, query: bytes) -> tuple[bytes | None, bytes]:
    """The ticket in the query string, which only a stream takes, and the query string without it."""
    if target.offer.stream is None or _TICKET not in query:
        return None, query
    fields = query.split(b"&")
    tickets = [field.removeprefix(_TICKET) for field in fields if field.startswith(_TICKET)]
    return (tickets[-1] if tickets else None), b"&".join(field for field in fields if not field.startswith(_TICKET))


def fields_in_url(route: Route, in_path: dict[str, str], query: bytes) -> dict[str, str]:
    """The parameters of path and query string. Raises RefusedError for what is unknown, there twice, too long, or holds
    NUL."""
    if len(query) + sum(map(len, in_path.values())) > MAX_URL:
        raise RefusedError(url_too_long())
    fields = {**_query_fields(route, query), **in_path} if query else in_path
    for name, value in fields.items():
        if "\0" in value:
            raise fields_refused(invalid_request, (name, "a NUL character is not allowed"))
    return fields


def _query_fields(route: Route, query: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in _pairs(query):
        if name not in route.query:
            raise fields_refused(invalid_request, (name, "there is no such query field"))
        if name in fields:
            raise fields_refused(invalid_request, (name, "this query field may be given only once"))
        fields[name] = value
    return fields


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        text = query.decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:  # UnicodeDecodeError is one, too many fields another
        raise RefusedError(malformed_url()) from None


async def body_of(route: Route, incoming: Incoming) -> bytes:
    """The body as it came, `{}` where there is none; with GET or DELETE it means nothing (RFC 9110, 9.3.1). A body that
    is one field is that field as JSON. Raises RefusedError, ClientGoneError."""
    if route.method in ("GET", "DELETE"):
        return NO_FIELDS
    body = await incoming.body()
    if route.raw is not None:
        return json.dumps({route.raw: _text(body)}).encode()
    if not body:
        return NO_FIELDS
    if incoming.headers.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
        raise RefusedError(unsupported_media_type())
    return body


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise RefusedError(not_text()) from None


def singles_are_single(route: Route, headers: Iterable[Header]) -> None:
    """Raises RefusedError for a header that means one thing and is there twice: a proxy before us may have read the
    other one."""
    names = [name for name, _ in headers]
    for name in (*_SINGLE, *(header.encode() for header in route.headers)):
        if names.count(name) > 1:
            raise RefusedError(repeated_header(f"{name.decode()} is there more than once."))


def fields_in_headers(route: Route, headers: Headers) -> dict[str, str]:
    """The fields that the route takes from headers, where the client sent them. Raises RefusedError."""
    fields = {}
    for header, name in route.headers.items():
        value = headers.get(header.encode())
        if value is not None:
            if len(value) > MAX_HEADER:
                raise fields_refused(invalid_request, (name, f"the header {header} is too long"))
            fields[name] = value.decode("latin-1")
    return fields


def seconds_to_wait(route: Route, headers: Headers) -> int:
    """How long the client prefers to wait for the result (RFC 7240, 4.3); 0 where that means nothing here. A preference
    that can't be read is ignored, as the RFC says."""
    found = _WAIT.search(headers.get(b"prefer", b"")) if route.wait is not None else None
    return 0 if found is None else min(int(found[1]), MAX_WAIT_SECONDS)


def idempotency_key(headers: Headers) -> str | None:
    """The client's idempotency key, if it sent one. Raises RefusedError."""
    value = headers.get(b"idempotency-key")
    if value is None:
        return None
    if not _PRINTABLE.fullmatch(value):
        raise RefusedError(bad_idempotency_key())
    return value.decode("ascii")


def traceparent(headers: Headers) -> str:
    """The trace that the request belongs to (W3C Trace Context): the client's, or one that begins here."""
    value = headers.get(b"traceparent", b"")
    if _TRACEPARENT.fullmatch(value):
        return value.decode("ascii")
    return f"00-{getrandbits(128):032x}-{getrandbits(64):016x}-01"
