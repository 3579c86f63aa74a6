"""Answers that are given again without asking.

Promise: what is given again was true when somebody asked or later. Events make answers stale; one that was on its way
when such an event came is delivered to those who waited for it and not kept; while events can't be heard, nothing is
kept at all. Any number of clients who want the same at once cost one question, and with a Redis any number of edges.
What is kept is bounded in bytes, and who was asked for least recently goes first.
"""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import Counter, Gauge
from pydantic import TypeAdapter
from starlette.types import Scope

from broker.lane import Answer
from broker.telemetry import log
from contracts.presence import Cache as Declared
from contracts.presence import Offer, Stale
from edge_api.responses import Response
from edge_api.tags import Rules, Tag, tags_of

if TYPE_CHECKING:
    from edge_api.shared_answers import SharedAnswers

CACHED = Counter("hedgerow_http_cached", "Requests for what may be cached, by how they were answered.", ["outcome"])
SENSELESS = Counter("hedgerow_http_senseless_news", "Answers whose news made no sense, so that all was forgotten.")
BYTES = Gauge("hedgerow_http_cache_bytes", "What the cache holds.")
HIT, JOINED, SHARED, FILLED, PASSED = map(CACHED.labels, ("hit", "joined", "shared", "filled", "passed"))
OVERHEAD = 1024
"""Bytes that an entry takes beside its body."""
MAX_BYTES = 64 << 20
_NEWS = TypeAdapter(list[tuple[str, Any]])
Key = tuple[str, bytes, bytes]
"""The operation, and the path and the query string as they came."""


@dataclass(slots=True)
class Entry:
    """An answer that is kept."""

    response: Response
    unchanged: Response
    etag: bytes
    until: float
    size: int


class Fill(NamedTuple):
    """An answer, and for how many seconds it may be given again."""

    answer: Answer
    seconds: float


class Cache:
    """Answers of the operations whose manifests allow it."""

    def __init__(self, max_bytes: int = MAX_BYTES, *, shared: "SharedAnswers | None" = None) -> None:
        self._max_bytes = max_bytes
        self._shared = shared
        self._bytes = 0
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._fills: dict[Key, asyncio.Future[Fill]] = {}
        """The questions on their way."""
        self._tags: dict[Key, list[Tag]] = {}
        self._tagged: defaultdict[Tag, set[Key]] = defaultdict(set)
        self._rules = Rules(_events)
        self._heard: frozenset[str] = frozenset()

    def find(self, offer: Offer, scope: Scope, headers: Mapping[bytes, bytes]) -> Response | None:
        """What is kept of it; nothing for who wants to know it anew (RFC 9111, 5.2.1.4)."""
        entry = self._entries.get(_key(offer, scope))
        if entry is None or entry.until < time.monotonic() or _wants_anew(headers):
            return None
        self._entries.move_to_end(_key(offer, scope))
        HIT.inc()
        return _of(entry, headers)

    async def fill(
        self,
        offer: Offer,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        params: Mapping[str, str],
        ask: Callable[[], Awaitable[Answer]],
        *,
        check: Callable[[], None],
    ) -> Answer | Response:
        """Ask, or wait for somebody who does. Raises what `ask` raises, and what `check` raises where nobody can be
        asked now: then what is kept stays."""
        key, anew = _key(offer, scope), _wants_anew(headers)
        fill = None if anew else await self._join(key)
        if fill is None:
            if offer.cache is None or not self._is_kept(offer.cache):
                PASSED.inc()
                return await ask()
            check()
            fill = await self._lead(key, offer.cache, params, ask, anew=anew)
        answer = fill.answer
        if answer.refused:
            return answer
        entry = self._entries.get(key)
        if entry is None or entry.response.body is not answer.body:
            entry = _entry(answer, 0)
        return _of(entry, headers)

    def hears(self, topics: frozenset[str], offers: Iterable[Offer]) -> None:
        """From now on these events are heard, and these operations answered; what was kept of others is forgotten."""
        self.is_deaf()
        self._heard = topics
        self._rules = Rules(_events, offers)
        if self._shared:
            self._shared.strike_everything()

    def is_deaf(self) -> None:
        """Events may have been missed: everything is forgotten, and nothing is kept until they are heard again."""
        self._heard = frozenset()
        self.forget()

    def forget(self) -> None:
        """Everything, and what is on its way is not kept."""
        for key in list(self._tags):
            self._drop(key)

    def news(self, topic: str, data: Any) -> None:
        """Forget what this event makes stale; `data` of None stands for any such event."""
        struck = self._rules.struck(topic, data, self._tagged)
        for tag in struck:
            for key in list(self._tagged.get(tag, ())):
                self._drop(key)
        if self._shared and struck:
            self._shared.strike(map(_word, struck))

    def told(self, news: str, *, by: str) -> None:
        """The same for the news of an answer to this operation; everything, where they make no sense."""
        try:
            told = _NEWS.validate_json(news)
        except ValueError:
            SENSELESS.inc()
            log.error("the news of an answer make no sense, everything cached is forgotten", topic=by)
            self.forget()
            if self._shared:
                self._shared.strike_everything()
            return
        for topic, data in told:
            self.news(topic, data)

    def _is_kept(self, cache: Declared) -> bool:
        return self._max_bytes > 0 and all(stale.event in self._heard for stale in cache.stale)

    async def _join(self, key: Key) -> Fill | None:
        """What somebody else is being answered; nothing where nobody asks, or who asked has gone."""
        while (fill := self._fills.get(key)) is not None:
            JOINED.inc()
            try:
                return await asyncio.shield(fill)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not fill.cancelled() or (task and task.cancelling()):
                    raise
        return None

    async def _lead(
        self,
        key: Key,
        cache: Declared,
        params: Mapping[str, str],
        ask: Callable[[], Awaitable[Answer]],
        *,
        anew: bool,
    ) -> Fill:
        """Ask, for all who want the same meanwhile."""
        self._drop(key)
        tags = self._tags[key] = tags_of(key[0], cache.stale, params)
        for tag in tags:
            self._tagged[tag].add(key)
        fill = self._fills[key] = asyncio.get_running_loop().create_future()
        filled = None
        try:
            filled = await self._fresh(key, tags, cache.seconds, ask, anew=anew)
            fill.set_result(filled)
            return filled
        except Exception as error:
            fill.set_exception(error)
            fill.exception()  # seen, also where nobody joined
            raise
        finally:
            fill.cancel()  # where it was not answered
            self._end(key, fill, filled)

    async def _fresh(
        self, key: Key, tags: list[Tag], seconds: int, ask: Callable[[], Awaitable[Answer]], *, anew: bool
    ) -> Fill:
        if self._shared is None:
            FILLED.inc()
            return Fill(await ask(), seconds)
        words = f"{key[0]} {key[1].decode('latin-1')}?{key[2].decode('latin-1')}"
        found = await self._shared.find(
            words, sorted({_word(each) for tag in tags for each in (tag, (*tag[:2], None))})
        )
        if found and found.body is not None and not anew:
            SHARED.inc()
            return Fill(Answer(found.body), found.seconds)
        FILLED.inc()
        answer = await ask()
        if found and not answer.refused:
            self._shared.keep(words, found.seal, answer.body, seconds)
        return Fill(answer, seconds)

    def _end(self, key: Key, fill: asyncio.Future[Fill], filled: Fill | None) -> None:
        if self._fills.get(key) is not fill:
            return  # something has made it stale meanwhile
        del self._fills[key]
        if filled is None or filled.answer.refused:
            self._drop(key)
            return
        entry = _entry(*filled)
        self._entries[key] = entry
        self._bytes += entry.size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))
        BYTES.set(self._bytes)

    def _drop(self, key: Key) -> None:
        self._fills.pop(key, None)
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size
            BYTES.set(self._bytes)
        for tag in self._tags.pop(key, ()):
            self._tagged[tag].discard(key)
            if not self._tagged[tag]:
                del self._tagged[tag]


def _events(offer: Offer) -> tuple[Stale, ...]:
    return offer.cache.stale if offer.cache else ()


def _key(offer: Offer, scope: Scope) -> Key:
    return offer.topic, scope["raw_path"], scope["query_string"]


def _word(tag: Tag) -> str:
    return " ".join(part for part in tag if part is not None)


def _wants_anew(headers: Mapping[bytes, bytes]) -> bool:
    control = headers.get(b"cache-control", b"")
    return b"no-cache" in control or b"no-store" in control


def _entry(answer: Answer, seconds: float) -> Entry:
    etag = b'"' + sha256(answer.body).hexdigest()[:24].encode() + b'"'
    said = ((b"etag", etag),)
    response = Response(200, answer.body, headers=said, cache_control=b"no-cache")
    unchanged = Response(304, headers=said, cache_control=b"no-cache")
    return Entry(response, unchanged, etag, time.monotonic() + seconds, len(answer.body) + OVERHEAD)


def _of(entry: Entry, headers: Mapping[bytes, bytes]) -> Response:
    """The response, or that the client has it already (RFC 9110, 13.1.2; weak comparison)."""
    known = headers.get(b"if-none-match")
    if known is None:
        return entry.response
    tags = (tag.strip().removeprefix(b"W/") for tag in known.split(b","))
    return entry.unchanged if known.strip() == b"*" or entry.etag in tags else entry.response
