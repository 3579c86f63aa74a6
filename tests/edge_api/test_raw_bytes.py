"""What comes over a real connection and makes no sense, or means two things: the server's part and ours together."""

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass
from typing import Any

import pytest

from tests.edge_api.test_on_a_real_broker import missing, served
from tests.support.eventually import eventually

pytestmark = pytest.mark.servers
HOST = b"Host: shop\r\n"
END = b"Connection: close\r\n\r\n"
JSON = b"Content-Type: application/json\r\n"
ANN = b"GET /greetings/Ann HTTP/1.1\r\n" + HOST
POST = b"POST /greetings HTTP/1.1\r\n" + HOST + JSON


@dataclass(frozen=True)
class Case:
    """Bytes, and the answer: the server itself refuses what is no HTTP, without a slug."""

    name: str
    sent: bytes
    status: int
    slug: str | None = None


def get(target: bytes, *headers: bytes) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"".join(header + b"\r\n" for header in headers) + END


def post(body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: " + str(len(body)).encode()
    return POST + b"".join(header + b"\r\n" for header in (length, *headers)) + END + body


HEADERS = [
    Case("a header of 60 KB that means nothing", get(b"/greetings/Ann", b"X-Junk: " + b"x" * 60_000), 200),
    Case("a header of 200 KB", get(b"/greetings/Ann", b"X-Junk: " + b"x" * 200_000), 431),
    Case("a thousand headers", get(b"/greetings/Ann", *[b"X-Junk: x"] * 1000), 431),
    Case("a token of 60 KB", get(b"/greetings/Ann", b"Authorization: Bearer " + b"x" * 60_000), 401, "unauthenticated"),
    Case("two tokens", get(b"/greetings/Ann", *[b"Authorization: Bearer x"] * 2), 400, "repeated-header"),
    Case("two keys", post(b"{}", b"Idempotency-Key: a", b"Idempotency-Key: b"), 400, "repeated-header"),
    Case("two types", post(b"{}", b"Content-Type: text/plain"), 400, "repeated-header"),
    Case("a trace of 60 KB", get(b"/greetings/Ann", b"traceparent: 00-" + b"a" * 60_000), 200),
    Case(
        "an Accept of nothing known", get(b"/greetings/Ann", b"Accept: application/x-unheard-of"), 406, "not-acceptable"
    ),
    Case("an Accept that is no ASCII", get(b"/greetings/Ann", b"Accept: \xff\xfe"), 200),
    Case("an Accept of 60 KB", get(b"/greetings/Ann", b"Accept: " + b"a/b," * 15_000), 200),
    Case("an If-None-Match that is none", get(b"/greetings/Ann", b'If-None-Match: W/"\xff'), 200),
    Case("a Prefer that is none", get(b"/greetings/Ann", b"Prefer: wait=99999999999999999999"), 200),
    Case("a proxy's word that is none", get(b"/greetings/Ann", b"X-Forwarded-For: \xff, ::::, 999.1.1.1"), 200),
    Case("a name with a space", get(b"/greetings/Ann", b"X Junk: x"), 400),
    Case("a NUL", get(b"/greetings/Ann", b"X-Junk: a\0b"), 400),
    Case("a line without a name", get(b"/greetings/Ann", b"junk"), 400),
    Case("a line that goes on", get(b"/greetings/Ann", b"X-Junk: a\r\n b"), 400),
]
BREAKS = [
    Case("in a path", get(b"/greetings/a%0d%0aSet-Cookie:%20evil=1"), 200),
    Case("in a query", get(b"/greetings/Ann?after=0%0d%0aSet-Cookie:%20evil=1"), 422, "invalid-request"),
    Case("in the name of a query field", get(b"/greetings/Ann?%0d%0aSet-Cookie:%20evil=1"), 422, "invalid-request"),
    Case("in an unknown address", get(b"/a%0d%0aSet-Cookie:%20evil=1"), 404, "no-such-route"),
    Case("in the slug of a problem", get(b"/problems/a%0d%0aSet-Cookie:%20evil=1"), 404, "no-such-problem"),
    Case("in a request id", get(b"/greetings/Ann", b"X-Request-Id: a%0d%0aSet-Cookie: evil=1"), 200),
    Case("in a request id, bare", get(b"/greetings/Ann", b"X-Request-Id: a\rSet-Cookie: evil=1"), 400),
    Case("in the origin of a page", get(b"/greetings/Ann", b"Origin: http://a%0d%0aSet-Cookie: evil=1"), 200),
]
"""Line breaks, where something might write them into a header of the answer."""
LINES = [
    Case("a path that is no UTF-8", get(b"/greetings/%ff"), 400, "malformed-url"),
    Case("an overlong NUL", get(b"/greetings/%c0%80"), 400, "malformed-url"),
    Case("half a surrogate", get(b"/greetings/%ed%a0%80"), 400, "malformed-url"),
    Case("a query that is no UTF-8", get(b"/greetings/Ann?after=%ff"), 400, "malformed-url"),
    Case("bytes that are not encoded", get(b"/greetings/\xff"), 400),
    Case("an escape that is none", get(b"/greetings/%zz"), 200),
    Case("a method that nobody knows", b"BREW /greetings/Ann HTTP/1.1\r\n" + HOST + END, 405, "method-not-allowed"),
    Case("a whole address", get(b"http://elsewhere.example/greetings/Ann"), 200),
    Case("no HTTP", b"EHLO shop\r\n\r\n", 400),
    Case("a version that there is not", b"GET /greetings/Ann HTTP/9.9\r\n" + HOST + END, 400),
    Case("an upgrade", get(b"/greetings/Ann", b"Upgrade: websocket", b"Sec-WebSocket-Key: x"), 200),
]
BODIES = [
    Case("no UTF-8", post(b'{"name": "\xff"}'), 400, "malformed-json"),
    Case("half a surrogate in a body", post(b'{"name": "\\ud800"}'), 400, "malformed-json"),
    Case("NaN", post(b'{"name": NaN}'), 422, "invalid-request"),
    Case("compressed", post(b"\x1f\x8b\x08\0\0", b"Content-Encoding: gzip"), 400, "malformed-json"),
    Case("a type that is no ASCII", post(b"{}").replace(b"/json", b"/\xff"), 415, "unsupported-media-type"),
    Case("two lengths", POST + b"Content-Length: 2\r\nContent-Length: 3\r\n" + END + b"{}", 400),
    Case("a length below zero", POST + b"Content-Length: -1\r\n" + END, 400),
    Case("a length beyond all", POST + b"Content-Length: " + b"9" * 5000 + b"\r\n" + END, 400),
    Case(
        "a length and chunks",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n" + END + b"0\r\n\r\n" + ANN + END,
        422,
    ),
    Case("an encoding that there is not", POST + b"Transfer-Encoding: cow\r\n" + END, 400),
    Case("an expectation that there is not", post(b'{"name": "Ann"}', b"Expect: 200-maybe"), 200),
]


async def test_whatever_is_sent_is_answered_once_and_is_nobody_s_defect(amqp: str) -> None:
    async with served(amqp) as client:
        port = client.base_url.port
        assert port is not None
        await eventually(lambda: missing(client, "presence"))
        wrong = {
            case.name: found
            for case in (*HEADERS, *BREAKS, *LINES, *BODIES)
            if (found := await wrongly_answered(port, case))
        }
        assert wrong == {}
        assert (await client.get("/greetings/Ann")).json() == {"words": "Hello, Ann!"}


async def wrongly_answered(port: int, case: Case) -> str | None:
    """What was wrong with the answer, if anything."""
    answer = await asyncio.to_thread(answered, port, case.sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    if status.split(b" ")[1] != str(case.status).encode() or (case.slug and slug_in(body) != case.slug):
        return f"{status!r} {body[:200]!r}"
    if b"HTTP/1.1" in body or any(header.lower().startswith(b"set-cookie") for header in headers):
        return f"answered twice, or by the client: {answer!r}"
    return None


def answered(port: int, sent: bytes) -> bytes:
    """All that comes back until the connection ends, which may be before everything was sent."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(1 << 16):
                received += chunk
    return received


def slug_in(body: bytes) -> Any:
    """The slug of a problem."""
    return json.loads(body)["type"].removeprefix("/problems/")
