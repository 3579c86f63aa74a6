"""Answers that grow, told as Server-Sent Events (WHATWG HTML, 9.2).

Promise: a client is told each item once and in order, beginning after those it has. What it is told comes from the
service, which is asked again whenever an event says that there may be more, after a time in which events could not be
heard, and once a minute in any case: no lost event loses an item. A stream ends when its caller's tokens are revoked,
when the service refuses the caller, when the client does not read, after an hour, and at once when the edge stops; the
client's next attempt goes on where it was. An answer that is over is answered with 204, and the client stays away.
"""

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from prometheus_client import Counter as Total
from prometheus_client import Gauge
from pydantic import TypeAdapter, ValidationError
from starlette.types import Send

from broker.ids import new_id
from broker.lane import Answer, Request
from broker.telemetry import log
from contracts.base import Growing, invalid_request
from contracts.presence import LAST_EVENT_ID, Offer, Stale, Stream
from edge_api.incoming import Incoming
from edge_api.problems import RefusedError, bad_answer, fields_refused, overloaded, too_many_streams
from edge_api.responses import Header, Response
from edge_api.tags import Rules, Tag, tags_of

OPEN = Gauge("hedgerow_http_streams", "Streams that are open.")
ENDED = Total("hedgerow_http_streams_ended", "Streams that ended, by why.", ["why"])
MOST = 2500
MOST_OF_ONE = 20
"""Streams of one user; of somebody who is not logged in: of one address."""
BEAT_EVERY = 15.0
ASK_EVERY = 60.0
LAST_FOR = 3600.0
WRITE_WITHIN = 10.0
TRY_AGAIN_AFTER = (0.5, 3.0)
COME_BACK_AFTER = b"retry: 2000\n\n"
"""Milliseconds after which a client whose stream was cut tries again."""
CONTENT_TYPE = b"text/event-stream"
_BEAT = b": still here\n\n"
_HEADERS: tuple[Header, ...] = ((b"content-type", CONTENT_TYPE), (b"x-accel-buffering", b"no"))
_REPLY = TypeAdapter(Growing[Any])
Ask = Callable[[Request], Awaitable[Answer]]
"""Asks the service. Raises RefusedError."""


class Streams:
    """All streams of an edge."""

    def __init__(self, most: int = MOST, *, most_of_one: int = MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._open: set[EventStream] = set()
        self._of_one = Counter[object]()
        self._by_tag: defaultdict[Tag, set[EventStream]] = defaultdict(set)
        self._rules = Rules(_events)
        self._is_closing = False

    async def open(
        self, declared: Stream, request: Request, incoming: Incoming, *, client: object, ask: Ask, within: float
    ) -> "EventStream | Response | Answer":
        """The stream that this request asks for; or the refusal, or the response where nothing more will come. Raises
        RefusedError."""
        if not request.params.get(declared.after, "0").isdecimal():
            raise fields_refused(invalid_request, (LAST_EVENT_ID, "is the number of the last event, or left out"))
        stream = EventStream(self, declared, request, incoming, ask, within, request.caller.id or client)
        stream.tags = tags_of(request.topic, declared.news, request.params)
        self._add(stream)
        try:
            answer = await ask(request)
            if not answer.refused:
                stream.take(answer)
        except BaseException:
            self.forget(stream)
            raise
        if answer.refused or (stream.is_over and not stream.items):
            self.forget(stream)
            return answer if answer.refused else Response(204)
        return stream

    def forget(self, stream: "EventStream") -> None:
        """It is not there any more."""
        self._open.discard(stream)
        OPEN.set(len(self._open))
        self._of_one[stream.owner] -= 1
        if not self._of_one[stream.owner]:
            del self._of_one[stream.owner]
        for tag in stream.tags:
            self._by_tag[tag].discard(stream)
            if not self._by_tag[tag]:
                del self._by_tag[tag]

    def hears(self, topics: frozenset[str], offers: Iterable[Offer]) -> None:
        """From now on these events are heard; what was said before may have been missed."""
        self._rules = Rules(_events, offers)
        for stream in self._open:
            stream.wake()

    def news(self, topic: str, data: Any) -> None:
        """Look what is new of whatever this event concerns."""
        for tag in self._rules.struck(topic, data, self._by_tag):
            for stream in self._by_tag.get(tag, ()):
                stream.wake()

    def is_deaf(self) -> None:
        """Nothing is heard until it `hears` again."""

    def revoke(self, subject: UUID) -> None:
        """The tokens of this user, or of this session, are not what they were."""
        for stream in self._open:
            if subject in (stream.request.caller.id, stream.request.caller.session):
                stream.end("revoked")

    def close(self) -> None:
        """End all, and open no more."""
        self._is_closing = True
        for stream in self._open:
            stream.end("closing")

    def _add(self, stream: "EventStream") -> None:
        if self._is_closing or len(self._open) >= self._most:
            raise RefusedError(overloaded())
        if self._of_one[stream.owner] >= self._most_of_one:
            raise RefusedError(too_many_streams())
        self._open.add(stream)
        OPEN.set(len(self._open))
        self._of_one[stream.owner] += 1
        for tag in stream.tags:
            self._by_tag[tag].add(stream)


@dataclass(eq=False, slots=True)
class EventStream:
    """One stream; a response that goes on."""

    streams: Streams
    declared: Stream
    request: Request
    incoming: Incoming
    ask: Ask
    within: float
    owner: object
    tags: list[Tag] = field(default_factory=list)
    items: tuple[Any, ...] = ()
    is_over: bool = False
    status: int = 200
    _had: int = 0
    _why: str | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """There may be more."""
        self._news.set()

    def end(self, why: str) -> None:
        """Soon."""
        self._why = self._why or why
        self._news.set()

    def take(self, answer: Answer) -> None:
        """Note what is new. Raises RefusedError."""
        try:
            reply = _REPLY.validate_json(answer.body)
        except ValidationError as error:
            log.error("what a stream should tell is no list", topic=self.request.topic, error=error)
            raise RefusedError(bad_answer()) from None
        self._had = int(self.request.params.get(self.declared.after) or 0)
        self.items, self.is_over = reply.items, reply.is_over

    async def send(self, send: Send, *, request_id: str, head: bool, more: tuple[Header, ...] = ()) -> None:
        """Tell until it ends."""
        headers = Response(200, headers=_HEADERS).head(request_id, sized=False)
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, *more]})
        try:
            if not head:
                await self._tell_until_gone(send)
        finally:
            self.streams.forget(self)
            ENDED.labels(self._why or "over").inc()
        await send({"type": "http.response.body", "body": b""})

    async def _tell_until_gone(self, send: Send) -> None:
        telling = asyncio.create_task(self._tell(send))
        leaving = asyncio.create_task(self.incoming.gone())
        try:
            await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not telling.done():
                self.end("gone")
            else:
                telling.result()
        finally:
            telling.cancel()
            leaving.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)

    async def _tell(self, send: Send) -> None:
        ends, ask_at = time.monotonic() + LAST_FOR, 0.0
        try:
            await _write(send, COME_BACK_AFTER + self._written())
            while self._why is None and not self.is_over:
                ask_at = ask_at or time.monotonic() + ASK_EVERY
                if time.monotonic() >= ends:
                    self.end("old")
                elif not await self._is_woken() and time.monotonic() < ask_at:
                    await _write(send, _BEAT)
                elif self._why is None:
                    self._news.clear()
                    if await self._ask_again():
                        ask_at = 0.0
                        await _write(send, self._written())
        except TimeoutError:
            self.end("slow")

    async def _is_woken(self) -> bool:
        try:
            async with asyncio.timeout(BEAT_EVERY):
                return await self._news.wait()
        except TimeoutError:
            return False

    async def _ask_again(self) -> bool:
        """Whether there was an answer; without one it will be tried again, soon."""
        self.request = replace(
            self.request,
            params={**self.request.params, self.declared.after: str(self._had)},
            deadline=time.time() + self.within,
            request_id=str(new_id()),
        )
        try:
            answer = await self.ask(self.request)
            if answer.refused:
                self.end("refused")
                return False
            self.take(answer)
        except RefusedError:
            await asyncio.sleep(random.uniform(*TRY_AGAIN_AFTER))  # noqa: S311 - no secret
            self._news.set()
            return False
        return True

    def _written(self) -> bytes:
        """The items that are new, as events."""
        events = [
            b"id: %d\ndata: %s\n\n" % (number, json.dumps(item, ensure_ascii=False).encode())
            for number, item in enumerate(self.items, start=self._had + 1)
        ]
        self._had += len(self.items)
        self.items = ()
        return b"".join(events)


async def _write(send: Send, some: bytes) -> None:
    """Raises TimeoutError where the client does not read."""
    if some:
        async with asyncio.timeout(WRITE_WITHIN):
            await send({"type": "http.response.body", "body": some, "more_body": True})


def _events(offer: Offer) -> tuple[Stale, ...]:
    return offer.stream.news if offer.stream else ()
