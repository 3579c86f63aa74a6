"""What events concern.

Promise: an event that does not say whom it concerns concerns everybody. Ids are the same in capitals.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from contracts.presence import Offer, Stale

Tag = tuple[str, str, str | None]
"""An event, an operation, and what the event says of the one field that matters."""


class Rules:
    """Which events matter to which operations."""

    def __init__(self, named: Callable[[Offer], Iterable[Stale]], offers: Iterable[Offer] = ()) -> None:
        self._rules: dict[str, list[tuple[str, Stale]]] = {}
        for offer in offers:
            for stale in named(offer):
                self._rules.setdefault(stale.event, []).append((offer.topic, stale))

    def struck(self, topic: str, data: Any, known: Iterable[Tag]) -> list[Tag]:
        """The tags that an event concerns; `data` of None stands for any such event."""
        return [tag for rule in self._rules.get(topic, ()) for tag in _struck(topic, *rule, data, known)]


def tags_of(operation: str, events: Iterable[Stale], params: Mapping[str, str]) -> list[Tag]:
    """What an answer to a question with these parameters depends on."""
    return [
        (stale.event, operation, None if stale.field is None else params.get(stale.field, "").lower())
        for stale in events
    ]


def _struck(topic: str, operation: str, stale: Stale, data: Any, known: Iterable[Tag]) -> Iterator[Tag]:
    if stale.field is None:
        yield topic, operation, None
    elif isinstance(data, Mapping) and stale.among in data:
        values = data[stale.among] if isinstance(data[stale.among], list) else [data[stale.among]]
        yield from ((topic, operation, str(value).lower()) for value in values)
    else:
        yield topic, operation, None
        yield from (tag for tag in known if tag[:2] == (topic, operation))
