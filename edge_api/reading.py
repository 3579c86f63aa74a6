"""What the client sent, read within bounds.

Promise: a body is never buffered beyond its limit nor waited for without end, and a field that a route does not list is
refused. Whether the JSON fits the operation is for the service to say.
"""

import asyncio
import re
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.types import Receive

from contracts.base import invalid_request
from contracts.presence import Route
from edge_api.problems import (
    RefusedError,
    bad_idempotency_key,
    body_too_large,
    body_too_slow,
    fields_refused,
    malformed_url,
    unsupported_media_type,
)

MAX_BODY = 1 << 20
BODY_WITHIN_SECONDS = 10.0
MAX_QUERY_FIELDS = 100
NO_FIELDS = b"{}"
_PRINTABLE = re.compile(rb"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

Headers = Mapping[bytes, bytes]


class ClientGoneError(Exception):
    """The client left before its request was complete."""


def fields_in_url(route: Route, in_path: dict[str, str], query: bytes) -> dict[str, str]:
    """The parameters of path and query string. Raises RefusedError for what is unknown, there twice, or holds NUL."""
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


async def body_of(route: Route, headers: Headers, receive: Receive) -> bytes:
    """The body as it came, `{}` where there is none; one sent with GET or DELETE means nothing (RFC 9110, 9.3.1) and is
    not read. Raises RefusedError, ClientGoneError."""
    if route.method in ("GET", "DELETE"):
        return NO_FIELDS
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > MAX_BODY:
        raise RefusedError(body_too_large())
    body = await _received(receive)
    if not body:
        return NO_FIELDS
    if headers.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
        raise RefusedError(unsupported_media_type())
    return body


async def _received(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    first: bytes = message.get("body", b"")
    if not message.get("more_body"):
        _check_size(first)
        return first
    try:
        async with asyncio.timeout(BODY_WITHIN_SECONDS):
            return await _rest(first, receive)
    except TimeoutError:
        raise RefusedError(body_too_slow()) from None


async def _rest(first: bytes, receive: Receive) -> bytes:
    body, more = bytearray(first), True
    while more:
        _check_size(body)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        more = message.get("more_body", False)
    _check_size(body)
    return bytes(body)


def _check_size(body: bytes | bytearray) -> None:
    if len(body) > MAX_BODY:
        raise RefusedError(body_too_large())


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
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
