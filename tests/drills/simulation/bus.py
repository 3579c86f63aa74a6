"""The fake bus: outboxes, queues and inboxes of the simulated services.

It delivers everything at least once, late, in any order, some of it twice, and some of it only after tries that failed
(through the retry tiers). A handler is a transaction: where it raises, nothing of it has become true. Which message
comes next in its aggregate's order is decided by the real code (broker/inbox.py).
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from broker import inbox, topology
from broker.inbox import Claim
from broker.message import Incoming
from contracts.base import Event, Said
from tests.drills.simulation.agenda import Agenda

Handler = Callable[[Any], tuple[Said, ...]]
"""Has its effect and returns what is said because of it; raises `NotYetError` before it has any."""
_TIERS = tuple(topology.TIERS.values())
_LATEST_EVENT, _LATEST_COMMAND = 1500.0, 300.0
"""Commands that overtake each other wait for each other in the retry tiers, eleven minutes at most."""
_FIRST: dict[str, tuple[int, int]] = {}
_LONG_AGO = datetime.fromtimestamp(0, UTC)


class NotYetError(Exception):
    """Another message has to come first; what is tried again later."""


@dataclass(frozen=True)
class Roughness:
    """How likely it is that a delivery comes again, fails before it has an effect, or takes its time."""

    repeats: float = 0.0
    fails: float = 0.0
    dawdles: float = 0.0


@dataclass(frozen=True)
class Letter:
    """A message on its way to one service."""

    to: str
    envelope: Incoming
    said: Said


class Inbox:
    """What broker/inbox.py keeps in its tables, for one service."""

    def __init__(self) -> None:
        self.joined: dict[str, datetime] = {}
        self._claimed: set[tuple[str, str]] = set()
        self._positions: dict[tuple[str, str], int] = {}
        self._parked: defaultdict[tuple[str, str], dict[int, tuple[int, Letter]]] = defaultdict(dict)

    def claim(self, letter: Letter) -> Claim:
        """What becomes of it; one that came early is parked."""
        message = letter.envelope
        if message.sequence is None or not inbox.is_ordered(message, self.joined):
            return Claim.DUPLICATE if (message.queue, message.id) in self._claimed else Claim.OURS
        place, awaited = (message.source, message.aggregate), inbox.predecessor(message, self.joined)
        applied = self._positions.get(place, 0)
        if applied >= message.sequence:
            return Claim.DUPLICATE
        if applied >= awaited:
            return Claim.OURS
        self._parked[place][message.sequence] = (awaited, letter)
        return Claim.PARKED

    def apply(self, letter: Letter) -> list[Letter]:
        """Its effect is committed; returns who waited for it, in order."""
        message = letter.envelope
        if message.sequence is None:
            self._claimed.add((message.queue, message.id))
            return []
        place = (message.source, message.aggregate)
        self._positions[place] = message.sequence
        waiting = self._parked[place]
        due = sorted(number for number, (awaited, _) in waiting.items() if awaited <= message.sequence)
        return [waiting.pop(number)[1] for number in due]

    @property
    def parked(self) -> int:
        """How many wait for a predecessor."""
        return sum(map(len, self._parked.values()))


class Bus:
    """Carries what services say to those that hear or do it."""

    def __init__(self, agenda: Agenda, chance: Random, roughness: Roughness) -> None:
        self._agenda = agenda
        self._chance = chance
        self._roughness = roughness
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._hearers: defaultdict[str, list[str]] = defaultdict(list)
        self._sequences: dict[tuple[str, str], tuple[int, dict[str, tuple[int, int]]]] = {}
        self._ids = 0
        self.inboxes: defaultdict[str, Inbox] = defaultdict(Inbox)
        self.sent: set[tuple[str, str]] = set()
        self.effects: Counter[tuple[str, str]] = Counter()
        self.applied: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        self.dead_letters: list[Letter] = []
        self.watch: Callable[[str, Said], None] = lambda what, said: None

    def connect(self, service: str, handlers: dict[type[Said], Handler]) -> None:
        """A service hears or does these."""
        for kind, handler in handlers.items():
            self._handlers[service, kind.topic] = handler
            self._hearers[kind.topic].append(service)
            self.inboxes[service].joined[kind.topic] = _LONG_AGO

    def publish(self, source: str, *messages: Said) -> None:
        """What a committed transaction of this service said leaves."""
        for said in messages:
            self.watch(f"{source} says", said)
            envelope = self._envelope(source, said)
            for service in self._hearers[said.topic]:
                queue = topology.work_queue(service, said.topic)
                self.sent.add((queue, envelope.id))
                self._send(Letter(service, replace(envelope, queue=queue), said))

    def _envelope(self, source: str, said: Said) -> Incoming:
        self._ids += 1
        sequence, topics = None, _FIRST
        if isinstance(said, Event):
            last, topics = self._sequences.get((source, said.aggregate), (0, _FIRST))
            sequence = last + 1
            following = {**topics, said.topic: (sequence, self._milliseconds)}
            self._sequences[source, said.aggregate] = (sequence, following)
        return Incoming(
            queue="",
            topic=said.topic,
            id=str(self._ids),
            source=source,
            aggregate=said.aggregate,
            sequence=sequence,
            predecessors=topics,
            said_at=self._milliseconds,
            attempt=1,
            headers={},
            body=b"",
        )

    @property
    def _milliseconds(self) -> int:
        return int(self._agenda.now * 1000)

    def _send(self, letter: Letter) -> None:
        copies = 1 + (self._chance.random() < self._roughness.repeats)
        for _ in range(copies):
            dawdles = self._chance.random() < self._roughness.dawdles
            latest = _LATEST_EVENT if isinstance(letter.said, Event) else _LATEST_COMMAND
            wait = self._chance.uniform(0, latest if dawdles else 0.05)
            self._agenda.after(wait, lambda: self._deliver(letter))

    def _deliver(self, letter: Letter) -> None:
        message, mine = letter.envelope, self.inboxes[letter.to]
        if message.attempt < 3 and self._chance.random() < self._roughness.fails:
            self._try_again(letter)
            return
        if mine.claim(letter) is not Claim.OURS:
            return
        try:
            said = self._handlers[letter.to, message.topic](letter.said)
        except NotYetError:
            self._try_again(letter)
            return
        self._note(letter)
        for waiting in mine.apply(letter):
            self._send(waiting)
        self.publish(letter.to, *said)

    def _note(self, letter: Letter) -> None:
        message = letter.envelope
        self.watch(f"{letter.to} takes", letter.said)
        self.effects[message.queue, message.id] += 1
        if message.sequence is not None:
            self.applied[letter.to, message.source, message.aggregate].append(message.sequence)

    def _try_again(self, letter: Letter) -> None:
        attempt = letter.envelope.attempt
        if attempt > len(_TIERS):
            self.watch(f"{letter.to} gives up on", letter.said)
            self.dead_letters.append(letter)
            return
        again = replace(letter, envelope=replace(letter.envelope, attempt=attempt + 1))
        self._agenda.after(_TIERS[attempt - 1], lambda: self._deliver(again))
