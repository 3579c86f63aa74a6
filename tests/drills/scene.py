"""Where a drill plays: a platform under load, and what was done to it."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from tests.support.load import Asking
from tests.support.platform import Platform

WORKERS = ("orders", "catalog", "payments")
SAID = {
    "a message was delivered again": "redeliveries",
    "a request was delivered again": "requests delivered again",
    "a duplicate was suppressed": "duplicates suppressed",
    "a message failed, it is tried again": "retries",
    "a message was given up on": "given up on",
    "the connection to the broker was lost": "connections lost",
    "a message waits for the database": "messages that waited for the database",
    "the database is away": "requests that met no database",
    "the relay lost the database, trying on": "relays that lost the database",
    "the outcome at the gateway is not known": "outcomes unknown",
    "our books and the gateway's differ": "differences healed",
}
"""What processes say, and what the drill counts it as."""


@dataclass(frozen=True)
class Before:
    """What there was when the drill began: orders (by id) and dead letters that are none of its business."""

    orders: frozenset[str] = frozenset()
    dead: Counter[str] = field(default_factory=Counter)


@dataclass
class Scene:
    """A platform, the load that it bears, and the counts of what faults have done. They go on for as long as there is
    load; after `seconds` those may stop that have touched something. `turns` are for faults that exclude each other."""

    platform: Platform
    chance: Random
    load: "asyncio.Task[None]"
    asking: Asking
    before: Before
    seconds: float = float("inf")
    began: float = field(default_factory=time.monotonic)
    struck: Counter[str] = field(default_factory=Counter)
    poison: set[str] = field(default_factory=set)
    turns: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _said: Counter[str] = field(default_factory=Counter)
    _read: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._listen()
        self._said.clear()

    @property
    def is_over(self) -> bool:
        """Whether nobody orders any more."""
        return self.load.done()

    async def pause(self, least: float, most: float) -> None:
        """So many seconds by chance, or until nobody orders any more."""
        await asyncio.wait({self.load}, timeout=self.chance.uniform(least, most))

    def may_stop(self, shows_in: Iterable[str], at_least: int = 1) -> bool:
        """Whether a fault has done what it was to do."""
        is_late = time.monotonic() - self.began > self.seconds
        return self.is_over or (is_late and self.has_any(shows_in, at_least))

    def has_any(self, what: Iterable[str], at_least: int = 1) -> bool:
        """Whether these counts have grown, all together by so much."""
        counts = self.counts
        return sum(counts[one] for one in what) >= at_least

    @property
    def counts(self) -> Counter[str]:
        """What the faults did, and what came of it."""
        self._listen()
        return self.struck + self._said + Counter({"requests asked again": self.asking.again.total()})

    def _listen(self) -> None:
        """Count what the processes have logged since the last time, those that were killed included."""
        for name in (*WORKERS, "users", "edge"):
            with (self.platform.state.logs / f"{name}.log").open(errors="replace") as log:
                log.seek(self._read.get(name, 0))
                self._said.update(what for line in log for words, what in SAID.items() if words in line)
                self._read[name] = log.tell()
