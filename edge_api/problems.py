"""How the edge says no: problem details (RFC 9457).

Promise: every error a client sees has a stable slug, and nothing of an unexpected error's inside gets out.
"""

from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from broker.lane import Answer, Request
from broker.telemetry import log
from contracts.base import FieldError, Refusal, RefusalKind, refusal, unauthenticated
from edge_api.responses import Header, Response

no_such_route = refusal("no-such-route", 404, "There is nothing at this address.")
no_such_problem = refusal("no-such-problem", 404, "There is no such problem.")
method_not_allowed = refusal("method-not-allowed", 405, "This address does not know that method.")
malformed_url = refusal("malformed-url", 400, "The address is not valid UTF-8, percent-encoded.")
bad_idempotency_key = refusal("bad-idempotency-key", 400, "An idempotency key is 1 to 255 printable ASCII characters.")
repeated_header = refusal("repeated-header", 400, "A header that may be there once is there more than once.")
body_incomplete = refusal("body-incomplete", 400, "The body ended before it was complete.")
body_too_slow = refusal("body-too-slow", 408, "The body did not arrive in time.")
url_too_long = refusal("url-too-long", 414, "The address is longer than 8 KiB.")
body_too_large = refusal("body-too-large", 413, "The body is larger than 1 MiB.")
cross_origin_refused = refusal("cross-origin-refused", 400, "Pages of other origins may not ask this.")
not_text = refusal("not-text", 400, "The body is not text in UTF-8.")
not_acceptable = refusal("not-acceptable", 406, "What you accept is not what this address has.")
unsupported_media_type = refusal("unsupported-media-type", 415, "The body must be application/json.")
too_many_requests = refusal("too-many-requests", 429, "You ask more often than you may.")
too_many_streams = refusal("too-many-streams", 429, "You have as many streams open as you may.")
internal_error = refusal("internal-error", 500, "Something went wrong here.")
bad_answer = refusal("bad-answer", 502, "The service's answer makes no sense.")
starting = refusal("starting", 503, "The platform is starting and does not know its services yet.")
broker_away = refusal("broker-away", 503, "The platform can't reach its message broker right now.")
overloaded = refusal("overloaded", 503, "Too many requests are in progress.")
keys_unavailable = refusal("keys-unavailable", 503, "The keys that verify access tokens can't be had right now.")
revocations_unavailable = refusal(
    "revocations-unavailable", 503, "Which access tokens were revoked can't be had right now."
)

OF_THE_EDGE: tuple[RefusalKind, ...] = tuple(kind for kind in globals().values() if isinstance(kind, RefusalKind))
"""Every way in which the edge itself says no."""

RETRY_AFTER_SECONDS = 1
TRY_AGAIN = {429, 503, 504}
"""The statuses whose responses say when to try again."""


class RefusedError(Exception):
    """A request goes no further; the door turns this into its problem document."""

    def __init__(self, said: Refusal, *headers: Header) -> None:
        super().__init__(said.slug)
        self.refusal = said
        self.headers = headers


def refusal_in(answer: Answer, request: Request) -> Refusal:
    """The refusal that an answer is. Raises RefusedError if it makes no sense."""
    try:
        refusal = Refusal.model_validate_json(answer.body)
    except ValidationError:
        refusal = None
    if refusal is None or not 400 <= refusal.status <= 599:
        log.error("a refusal makes no sense", topic=request.topic, request_id=request.request_id)
        raise RefusedError(bad_answer())
    return refusal


def problem(said: Refusal, *headers: Header, request_id: str) -> Response:
    """A refusal as a response."""
    body = to_json(document(said, request_id))
    return Response(said.status, body, b"application/problem+json", (*_usual(said, headers), *headers))


def token_refused() -> RefusedError:
    """There is a token, but it is no good. Why is not said: it would only help who forged it."""
    return RefusedError(
        unauthenticated("The access token is not valid (any more)."),
        (b"www-authenticate", b'Bearer error="invalid_token"'),
    )


def fields_refused(kind: RefusalKind, *errors: tuple[str, str]) -> RefusedError:
    """Some fields, each by its name, are wrong for a reason."""
    return RefusedError(kind("", *(FieldError(pointer=pointer_to(name), detail=detail) for name, detail in errors)))


def pointer_to(name: str) -> str:
    """The JSON pointer (RFC 6901) to a field."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _usual(said: Refusal, headers: tuple[Header, ...]) -> tuple[Header, ...]:
    if said.status in TRY_AGAIN and not any(name == b"retry-after" for name, _ in headers):
        return ((b"retry-after", str(RETRY_AFTER_SECONDS).encode()),)
    return ()


def document(said: Refusal, request_id: str) -> dict[str, Any]:
    """A refusal as a problem document."""
    written: dict[str, Any] = {
        "type": f"/problems/{said.slug}",
        "title": said.title,
        "status": said.status,
        "detail": said.detail,
        "instance": request_id,
    }
    if said.errors:
        written["errors"] = [error.model_dump() for error in said.errors]
    return written
