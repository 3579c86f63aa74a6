"""What goes back to the client: one small type instead of a framework's, because the hot path makes one a request.

Promise: every response carries its request id; a HEAD request gets the headers only; nothing is sniffed, or
cached without asking again.
"""

from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

Header = tuple[bytes, bytes]
JSON = b"application/json"
_ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_LOADS_NOTHING: Header = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""What OWASP's REST Security Cheat Sheet asks for, beside the cache's and HTTPS' own."""
_CHALLENGE: Header = (b"www-authenticate", b"Bearer")
_WITHOUT_CONTENT = {204, 304}


@dataclass(slots=True)  # to make a frozen one takes three times as long
class Response:
    """A complete response; an ASGI application, so that Starlette's routes can return it too."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[Header, ...] = ()
    cache_control: bytes = b"no-store"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that came through the door."""
        await self.send(send, request_id=scope["state"]["request_id"], head=scope["method"] == "HEAD")

    async def send(self, send: Send, *, request_id: str, head: bool, more: tuple[Header, ...] = ()) -> None:
        """Write it out, with `more` headers."""
        headers = [*self.head(request_id), *more]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head else self.body})

    def head(self, request_id: str, *, sized: bool = True) -> list[Header]:
        """The headers; not those of the content where nobody knows its size yet."""
        cached: Header = (b"cache-control", self.cache_control)
        headers = [(b"x-request-id", request_id.encode()), cached, *_ALWAYS, *self.headers]
        if not self.content_type.startswith(b"text/html"):  # a page says itself what it loads
            headers.append(_LOADS_NOTHING)
        if self.status == 401 and not any(name == b"www-authenticate" for name, _ in self.headers):
            headers.append(_CHALLENGE)
        if sized and self.status not in _WITHOUT_CONTENT:
            headers.append((b"content-length", str(len(self.body)).encode()))
            if self.body:
                headers.append((b"content-type", self.content_type))
        return headers
