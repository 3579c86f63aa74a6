"""From a method and a path to who answers.

Promise: a look-up costs as much as the path is long, however many routes there are; a static segment beats a parameter;
a route of the platform itself is never given away. The table follows the registry: it is compiled again when the
accepted offers change, and only then.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from broker.registry import Registry, ServiceRecord
from broker.telemetry import log
from contracts.presence import PROBLEMS, Offer, Part, Route
from edge_api.problems import RefusedError, malformed_url, method_not_allowed, no_such_route
from edge_api.responses import Header


@dataclass(frozen=True, slots=True)
class Target:
    """An operation that a route leads to. `names` are the path's parameters with the segment that holds each;
    `has_content` says whether a reply is sent with content, `keeps_answers` whether an idempotency key means something,
    `is_cached` whether one answer serves everybody for a while; `parts` are those of a composition."""

    record: ServiceRecord
    offer: Offer
    route: Route
    names: tuple[tuple[int, str], ...]
    has_content: bool
    keeps_answers: bool
    is_cached: bool
    parts: tuple["PartTarget", ...] = ()


@dataclass(frozen=True, slots=True)
class PartTarget:
    """A part of a composition, and who answers it; None as long as nobody is known who does."""

    part: Part
    target: Target | None


@dataclass(slots=True)
class _Node:
    static: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    targets: dict[str, Target] = field(default_factory=dict)


class Table:
    """The routes of one generation of offers. `refused` are the claims that could not be served, with the reason."""

    def __init__(self, offers: Iterable[tuple[ServiceRecord, Offer]], *, is_reserved: Callable[[str], bool]) -> None:
        self.refused: list[tuple[str, str, str]] = []
        self.targets: list[Target] = []
        self._root = _Node()
        self._by_topic: dict[str, Target] = {}
        self._inner: set[str] = set()
        # Compositions come last: they need to know who answers their parts.
        for record, offer in sorted(offers, key=lambda claim: bool(claim[1].parts)):
            if offer.http is not None:
                self._add(record, offer, offer.http, is_reserved)
            else:
                self._inner.add(offer.topic)

    def find(self, method: str, path: bytes) -> tuple[Target, dict[str, str]]:
        """Who answers, and the path's parameters. Raises RefusedError: nothing there, another method, bad encoding."""
        segments = segments_of(path)
        node = _walk(self._root, segments, 0)
        if node is None:
            raise RefusedError(no_such_route())
        target = node.targets.get("GET" if method == "HEAD" else method)
        if target is None:
            raise RefusedError(method_not_allowed(), _allow(node))
        return target, {name: segments[at] for at, name in target.names}

    def allowed(self, path: bytes) -> Header:
        """The Allow header of a path. Raises RefusedError."""
        node = _walk(self._root, segments_of(path), 0)
        if node is None:
            raise RefusedError(no_such_route())
        return _allow(node)

    def _add(self, record: ServiceRecord, offer: Offer, route: Route, is_reserved: Callable[[str], bool]) -> None:
        node = self._root
        segments = route.path.strip("/").split("/")
        for segment in segments:
            if _is_parameter(segment):
                node.parameter = node = node.parameter or _Node()
            else:
                node = node.static.setdefault(segment, _Node())
        names = tuple((at, segment[1:-1]) for at, segment in enumerate(segments) if _is_parameter(segment))
        parts = tuple(PartTarget(part, self._by_topic.get(part.topic)) for part in offer.parts)
        if is_reserved(route.path):
            self._refuse(record.name, route, "the path is held by the platform")
        elif route.method in node.targets:
            self._refuse(record.name, route, "the path is claimed twice")
        elif parts and (reason := self._wrong_parts(offer, route, parts)):
            self._refuse(record.name, route, reason)
        else:
            facts = has_content(offer, route), keeps_answers(offer), is_cached(offer, route)
            target = Target(record, offer, route, names, *facts, parts)
            node.targets[route.method] = target
            self.targets.append(target)
            if not parts:
                self._by_topic[offer.topic] = target

    def _wrong_parts(self, offer: Offer, route: Route, parts: tuple[PartTarget, ...]) -> str | None:
        names = [one.part.name for one in parts]
        if (offer.kind, route.method, route.status) != ("query", "GET", 200):
            return "a composition is a plain GET"
        if PROBLEMS in names or len(set(names)) < len(names):
            return "the names of its parts clash"
        for one in parts:
            if one.part.topic in self._inner:
                return f"its part {one.part.name} has no route of its own"
            if one.target is not None and one.target.offer.kind == "write":
                return f"its part {one.part.name} is no query"
        return None

    def _refuse(self, service: str, route: Route, reason: str) -> None:
        log.warning("a route can't be served", claimant=service, claim=f"{route.method} {route.path}", reason=reason)
        self.refused.append((service, f"{route.method} {route.path}", reason))


class Routes:
    """The table of what the registry accepts right now."""

    def __init__(self, registry: Registry, *, is_reserved: Callable[[str], bool]) -> None:
        self.registry = registry
        self._is_reserved = is_reserved
        self._generation = -1
        self._table = Table((), is_reserved=is_reserved)

    @property
    def table(self) -> Table:
        """The table, compiled again if need be."""
        if self._generation != self.registry.generation:
            self._table = Table(self.registry.offers(), is_reserved=self._is_reserved)
            self._generation = self.registry.generation
        return self._table


def has_content(offer: Offer, route: Route) -> bool:
    """Whether a reply is sent with content."""
    return bool(offer.parts) or (route.status != 204 and offer.reply.get("type") != "null")


def keeps_answers(offer: Offer) -> bool:
    """Whether an idempotency key means something."""
    return offer.kind == "write" and offer.keeps_answer


def is_cached(offer: Offer, route: Route) -> bool:
    """Whether an answer may be given to others: only what depends on nothing but the address."""
    depends_on_caller = route.who != "anyone" or bool(route.roles) or bool(route.headers)
    return offer.cache is not None and (route.method, route.status) == ("GET", 200) and not depends_on_caller


def segments_of(path: bytes) -> list[str]:
    """The decoded segments of a raw path; an encoded slash stays within its segment. Raises RefusedError."""
    try:
        if b"%" not in path:
            return path.decode().removeprefix("/").split("/")
        return [unquote_to_bytes(segment).decode() for segment in path.removeprefix(b"/").split(b"/")]
    except UnicodeDecodeError:
        raise RefusedError(malformed_url()) from None


def _walk(node: _Node, segments: list[str], at: int) -> _Node | None:
    if at == len(segments):
        return node if node.targets else None
    segment = segments[at]
    child = node.static.get(segment)
    found = _walk(child, segments, at + 1) if child is not None else None
    if found is None and node.parameter is not None and segment:
        return _walk(node.parameter, segments, at + 1)
    return found


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def _allow(node: _Node) -> Header:
    methods = {*node.targets, "OPTIONS"} | ({"HEAD"} if "GET" in node.targets else set())
    return (b"allow", ", ".join(sorted(methods)).encode())
