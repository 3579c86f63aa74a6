"""How operations are reached over HTTP, as their authors say it.

Promise: a route that does not fit its operation is refused in one sentence when the service is put together.
"""

from collections.abc import Iterable, Mapping
from typing import Any, get_origin

from contracts.base import Event, Growing, Operation, Query
from contracts.presence import LAST_EVENT_ID, Cache, Route, Stale, Stream, Who

_METHODS_WITHOUT_BODY = ("GET", "DELETE")


def Http(
    method: str,
    path: str,
    *,
    status: int = 200,
    who: Who = "user",
    query: tuple[str, ...] = (),
    wait: str | None = None,
    headers: Mapping[str, str] | None = None,
    raw: str | None = None,
    roles: tuple[str, ...] = (),
    limit: str | None = None,
    within: float | None = None,
) -> Route:
    """How an operation is reached over HTTP. Only `who="anyone"` needs no access token. With `roles`, the caller must
    have one of them.

    Fields named in the path come from the path, those in `query` (for GET and DELETE: all others) from the query
    string, those in `headers` (header -> field) from headers, the rest from the JSON body. `raw` names the field that
    gets the body as it came, as text. `limit` names the limit of the edge that counts it, where the one for reads or
    writes is not meant ("credentials": what guesses passwords). `within` is how many seconds the answer may take, at
    most 30, where DEFAULT_SECONDS of the lane are not right.
    """
    return Route.model_validate(
        {
            "method": method,
            "path": path,
            "status": status,
            "who": who,
            "query": query,
            "wait": wait,
            "headers": {header.lower(): field for header, field in (headers or {}).items()},
            "raw": raw,
            "roles": roles,
            "limit": limit,
            "within_seconds": within,
        }
    )


def Cached(seconds: int, stale: Mapping[type[Event], tuple[str, str] | None]) -> Cache:
    """How long an edge may answer again with the same, and the events that make it stale: any of them (None), or those
    whose field (or one of whose list) is a field of the question: `{StockReserved: ("sku", "skus")}`."""
    return Cache(seconds=seconds, stale=_named(stale))


def _named(events: Mapping[type[Event], tuple[str, str] | None]) -> tuple[Stale, ...]:
    named = ((event.topic, fields or (None, None)) for event, fields in events.items())
    return tuple(Stale(event=topic, field=ours, among=theirs) for topic, (ours, theirs) in named)


def Streamed(after: str, news: Mapping[type[Event], tuple[str, str] | None]) -> Stream:
    """An answer (a `Growing`) that edges tell as Server-Sent Events: the field of the question that gets how many items
    the client has, and the events that say that there may be more, as for `Cached`."""
    return Stream(after=after, news=_named(news))


def complete(route: Route, operation: type[Operation[Any]]) -> Route:
    """Name the fields of the query string. Raises ValueError if path and operation do not fit."""
    if route.roles and route.who == "anyone":
        raise ValueError(f"{route.method} {route.path}: who needs a role can't be anyone")
    in_path = [segment[1:-1] for segment in route.path.split("/") if segment.startswith("{")]
    fields = set(operation.model_fields)
    named = (route.wait, route.raw, *route.headers.values())
    for name in (*in_path, *route.query, *(name for name in named if name)):
        if name not in fields:
            raise ValueError(f"{route.method} {route.path}: {operation.__name__} has no field {name}")
    if route.raw is not None and (homeless := fields - {*in_path, *route.query, *named}):
        raise ValueError(f"{route.method} {route.path}: {min(homeless)} can't be in the body, which is all {route.raw}")
    if route.query or route.method not in _METHODS_WITHOUT_BODY:
        return route
    left = tuple(name for name in operation.model_fields if name not in in_path and name not in named)
    return route.model_copy(update={"query": left})


def must_be_cacheable(operation: type[Operation[Any]], http: Route | None, cache: Cache) -> None:
    """Raises ValueError for an operation whose answers depend on who asks, or on more than the address."""
    if http is None or http.who != "anyone" or not issubclass(operation, Query) or http.headers:
        raise ValueError(
            f"{operation.__name__} can't be cached: only what anyone may ask over HTTP can, and no headers"
        )
    _must_have_fields(operation, cache.stale)


def as_a_stream(operation: type[Operation[Any]], http: Route | None, stream: Stream) -> Route:
    """The route, with the header by which clients say what they have. Raises ValueError."""
    if http is None or http.method != "GET" or not issubclass(operation, Query):
        raise ValueError(f"{operation.__name__} can't be a stream: only a query with a GET route can")
    if not issubclass(get_origin(operation.reply_type()) or operation.reply_type(), Growing):
        raise ValueError(f"{operation.__name__} can't be a stream: its reply is no Growing")
    _must_have_fields(operation, stream.news)
    return http.model_copy(update={"headers": {**http.headers, LAST_EVENT_ID: stream.after}})


def _must_have_fields(operation: type[Operation[Any]], events: Iterable[Stale]) -> None:
    for stale in events:
        if stale.field is not None and stale.field not in operation.model_fields:
            raise ValueError(f"{operation.__name__} has no field {stale.field} that {stale.event} could speak of")
